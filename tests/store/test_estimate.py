"""The time that an attempt still takes: near the truth with enough evidence, and else nothing."""

import math
from collections.abc import Callable, Iterable
from datetime import timedelta

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from async_downloads.store.estimate import MAX_KEPT, MAX_SECONDS, UNSTEADY, Estimate

#: Seconds and how much is done.
Observations = list[tuple[float, float]]


def estimated(observations: Iterable[tuple[float, float]], total: float = 100) -> float | None:
    """Return the estimate at the time of the last observation."""
    estimate, moment = Estimate(), 0.0
    for moment, done in observations:
        estimate.observe(moment, done, total)
    return estimate.seconds_left(moment)


def steps(seconds: float, rate: float, *, every: float = 2, after: Observations) -> Observations:
    """Return observations, continued at a constant rate."""
    (moment, done), number = after[-1], int(seconds / every)
    return after + [
        (moment + each * every, done + each * every * rate) for each in range(1, number + 1)
    ]


BEGIN: Observations = [(0.0, 0.0)]
CONSTANT = steps(20, 1, after=BEGIN)


@pytest.mark.parametrize(
    ("observations", "seconds"),
    [
        ([], None),
        (BEGIN, None),
        # Not ten seconds.
        (steps(8, 5, after=BEGIN), None),
        (steps(10, 5, after=BEGIN), 10),
        # Two observations, and three.
        ([(0, 0), (30, 30)], None),
        ([(0, 0), (30, 30), (60, 60)], 40),
        # Less than three per cent.
        (steps(20, 0.1, after=BEGIN), None),
        (steps(40, 0.1, after=BEGIN), 960),
        (CONSTANT, 80),
        # The file has its rows, and is being stored.
        (steps(100, 1, after=BEGIN), None),
        (steps(120, 1, after=BEGIN), None),
        # Ten times slower, or faster: at first, then steady over the last third.
        (steps(6, 0.1, after=CONSTANT), None),
        (steps(14, 0.1, after=CONSTANT), 786),
        (steps(4, 10, after=CONSTANT), None),
        (steps(10, 4, after=CONSTANT), 10),
        # More than a week.
        ([(0, 0), (8e5, 4), (16e5, 8)], None),
        # No step forward.
        ([(0, 50), (10, 50), (20, 50)], None),
        # Another file, begun anew.
        ([*CONSTANT, (22, 0), (24, 2)], None),
        (steps(20, 2, after=[*CONSTANT, (22, 0)]), 30),
        # The clock was put back.
        ([*CONSTANT, (5, 21), (7, 23)], None),
        (steps(20, 1, after=[*CONSTANT, (5, 21)]), 59),
    ],
)
def test_the_estimate_of(observations: Observations, seconds: float | None) -> None:
    assert estimated(observations) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize("total", [None, 0])
def test_an_unknown_total_gives_none(total: float | None) -> None:
    estimate = Estimate()
    for moment, done in CONSTANT:
        estimate.observe(moment, done, total)
    assert estimate.seconds_left(20) is None
    assert estimate.end(20) is None


def test_another_total_begins_anew() -> None:
    estimate = Estimate()
    for moment, done in CONSTANT:
        estimate.observe(moment, done, 100)
    estimate.observe(22, 50, 1000)
    assert estimate.seconds_left(22) is None


def test_the_time_since_the_last_observation_passes() -> None:
    estimate = Estimate()
    for moment, done in CONSTANT:
        estimate.observe(moment, done, 100)
    assert estimate.seconds_left(25) == pytest.approx(75)
    end = estimate.end(25)
    assert end is not None
    assert timedelta(seconds=70) < end - timezone.now() <= timedelta(seconds=75)


@pytest.mark.parametrize(("moment", "known"), [(30, True), (31, False), (19, False)])
def test_there_is_none_if_the_next_observation_is_late(moment: float, known: bool) -> None:
    estimate = Estimate()
    for seen, done in CONSTANT:
        estimate.observe(seen, done, 100)
    assert (estimate.seconds_left(moment) is not None) is known


def test_observations_in_quick_succession_count_as_one() -> None:
    estimate = Estimate()
    for moment in range(30_000):
        estimate.observe(moment / 1000, moment / 1000, 100)
    assert estimate.seconds_left(30) == pytest.approx(70, abs=0.1)
    assert len(estimate._kept) <= 32


RATES = st.floats(0.001, 1000)
PAUSES = st.lists(st.floats(1, 4), min_size=12, max_size=400)


@given(RATES, PAUSES, st.floats(0.04, 0.99))
def test_a_constant_rate_is_known_exactly(rate: float, pauses: list[float], share: float) -> None:
    moments = [sum(pauses[:number]) for number in range(len(pauses))]
    total = rate * moments[-1] / share
    observations = [(1e6 + moment, rate * moment) for moment in moments]
    truth = (total - observations[-1][1]) / rate
    assert estimated(observations, total) == pytest.approx(truth, rel=1e-3)


def constant(moment: float) -> float:
    return moment


def slowing(moment: float) -> float:
    return 300 * (1 - math.exp(-moment / 300))


def speeding_up(moment: float) -> float:
    return moment + moment**2 / 300


def in_waves(moment: float) -> float:
    return moment + 5 * math.sin(moment / 10)


@pytest.mark.parametrize("progress", [constant, slowing, speeding_up, in_waves])
@given(end=st.floats(120, 600), beat=st.floats(1, 4))
def test_an_estimate_is_of_the_order_of_the_truth(
    progress: Callable[[float], float], end: float, beat: float
) -> None:
    total, estimate, moment, shown = progress(end), Estimate(), 0.0, 0
    while moment < end:
        estimate.observe(moment, progress(moment), total)
        seconds = estimate.seconds_left(moment)
        if seconds is not None:
            shown += 1
            assert (end - moment) / 4 <= seconds <= 4 * (end - moment) + 10
        moment += beat
    assert shown > end / beat / 3


NUMBERS = st.floats(-1e9, 1e9)


@given(
    st.lists(st.tuples(NUMBERS, NUMBERS, st.sampled_from([None, 0, 1, 100, 1e9])), max_size=200),
    NUMBERS,
)
def test_any_observations_give_a_time_in_bounds_or_none(
    observations: list[tuple[float, float, float | None]], moment: float
) -> None:
    estimate = Estimate()
    for each in observations:
        estimate.observe(*each)
        assert len(estimate._kept) <= MAX_KEPT
    for now in (moment, observations[-1][0] if observations else 0):
        seconds = estimate.seconds_left(now)
        assert seconds is None or 0 < seconds <= MAX_SECONDS


@given(st.lists(st.floats(0.01, 10), min_size=2, max_size=100))
def test_an_estimate_means_a_steady_rate(progress: list[float]) -> None:
    done = [sum(progress[:number]) for number in range(len(progress) + 1)]
    observations = [(2.0 * number, each) for number, each in enumerate(done)]
    seconds = estimated(observations, done[-1] * 2)
    if seconds is None:
        return
    # Neither the slowest nor the fastest step of all decides.
    slowest, fastest = min(progress) / 2, max(progress) / 2
    assert done[-1] / fastest * (1 - 1e-6) <= seconds <= done[-1] / slowest * (1 + 1e-6)
    half = len(progress) // 6
    if half > 6:
        older, newer = sum(progress[-2 * half : -half]), sum(progress[-half:])
        assert max(older, newer) <= 2 * UNSTEADY * min(older, newer) + 20
