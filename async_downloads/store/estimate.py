"""Estimate how long an attempt still takes, by its rate over the last part of its time."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final, NamedTuple

from django.utils import timezone

__all__ = ["Estimate"]

#: Less evidence than this gives no estimate: seconds, observations, and the share that is done.
MIN_SECONDS: Final = 10.0
MIN_OBSERVATIONS: Final = 3
MIN_SHARE: Final = 0.03

#: Seconds that the next observation may always take; else twice the longest pause.
MAX_SILENCE: Final = 10.0

#: The part of the time, up to the last observation, whose rate counts.
LAST_PART: Final = 1 / 3

#: How many times faster one half of the last part may be than the other.
UNSTEADY: Final = 2.0

#: Seconds between two observations that are kept, and how many are kept.
MIN_STEP: Final = 1.0
MAX_KEPT: Final = 64

#: A longer time is not known well enough: a week.
MAX_SECONDS: Final = 7 * 24 * 60 * 60.0


class _Observation(NamedTuple):
    moment: float
    done: float


class Estimate:
    """The progress of one attempt, and how long the rest takes.

    It knows observations alone: the caller has the clock, which should be monotonic.
    """

    def __init__(self) -> None:
        """Begin without an observation."""
        self._total: float | None = None
        self._kept: tuple[_Observation, ...] = ()

    def observe(self, moment: float, done: float, total: float | None) -> None:
        """Record how much is done.

        Another total than before, and a step back in time or in progress, begin anew.

        Args:
            moment: Seconds on the clock.
            done: How much is done.
            total: How much there is to do; nothing is recorded if it is not known.
        """
        if not total:
            return
        kept, new = self._kept, _Observation(moment, done)
        if total != self._total or (kept and not _follows(new, kept[-1])):
            self._total, self._kept = total, (new,)
        elif new.done > kept[-1].done:
            close = len(kept) > 1 and moment - kept[-2].moment < MIN_STEP
            kept = (*(kept[:-1] if close else kept), new)
            # Every second one is enough for twice the time; the last one stays.
            self._kept = kept if len(kept) <= MAX_KEPT else kept[::-1][::2][::-1]

    def seconds_left(self, moment: float) -> float | None:
        """Return how many seconds the rest takes; None without enough evidence.

        There is not enough at the beginning, while the rate changes, or if the next
        observation is late.

        Args:
            moment: Now, on the clock of the observations.
        """
        kept, total = self._kept, self._total
        if total is None or len(kept) < MIN_OBSERVATIONS:
            return None
        last, elapsed = kept[-1], kept[-1].moment - kept[0].moment
        if elapsed < MIN_SECONDS or not total * MIN_SHARE <= last.done < total:
            return None
        part = _last_part(kept, max(MIN_SECONDS, elapsed * LAST_PART))
        pause = max(after.moment - before.moment for before, after in pairwise(part))
        silence = moment - last.moment
        if not 0 <= silence <= max(MAX_SILENCE, 2 * pause) or not _is_steady(part):
            return None
        seconds = (total - last.done) / _rate(part[0], last) - silence
        return seconds if 0 < seconds <= MAX_SECONDS else None

    def end(self, moment: float) -> datetime | None:
        """Return when the end is expected, on the clock of the site; None if that is not known."""
        seconds = self.seconds_left(moment)
        return None if seconds is None else timezone.now() + timedelta(seconds=seconds)


def _follows(new: _Observation, last: _Observation) -> bool:
    return new.moment > last.moment and new.done >= last.done


def _last_part(kept: Sequence[_Observation], seconds: float) -> Sequence[_Observation]:
    """Return the last observations: at least so many seconds, and as many as are necessary."""
    since = kept[-1].moment - seconds
    first = max(index for index, each in enumerate(kept) if index == 0 or each.moment <= since)
    return kept[min(first, len(kept) - MIN_OBSERVATIONS) :]


def _is_steady(part: Sequence[_Observation]) -> bool:
    """Return whether both halves of a part have about the same rate."""
    first, last = part[0], part[-1]
    half = (first.moment + last.moment) / 2
    middle = min(part[1:-1], key=lambda each: abs(each.moment - half))
    rates = _rate(first, middle), _rate(middle, last)
    return max(rates) <= UNSTEADY * min(rates)


def _rate(first: _Observation, last: _Observation) -> float:
    return (last.done - first.done) / (last.moment - first.moment)
