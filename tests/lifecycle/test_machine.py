"""Any order of what people, workers, queues, caches and time may do to downloads."""

import itertools
import logging
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Final

import pytest
from django.core.cache import caches
from django.db import transaction
from django.utils import timezone
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, initialize, invariant, precondition, rule

from async_downloads import cache, owners, shortcuts, store, tasks
from async_downloads.exceptions import DownloadBusy, DownloadCancelled, DownloadError
from async_downloads.models import Download, DownloadCollection
from async_downloads.store import Listing, Version, cache_entries
from tests.attempts import long_ago
from tests.lifecycle.actors import Process, park
from tests.lifecycle.model import HEARTBEAT, Expected, Shown
from tests.lifecycle.world import (
    A_DAY,
    LONG,
    MAX_ATTEMPTS,
    MOMENT,
    STALLED_AFTER,
    World,
    content_of,
    rows,
    search,
    stored,
)

pytestmark = [pytest.mark.long, pytest.mark.django_db(transaction=True)]


class NothingToDo(Exception):  # noqa: N818 (it is no error)
    """Tells a task to end without a file."""


#: How a task may fail, and what the owner is told of it.
FAILURES: Final[dict[type[BaseException], str]] = {
    RuntimeError: "Something went wrong while creating the file. Please request it again.",
    DownloadError: "The month is not closed.",
    SystemExit: "It took too long, or the worker was stopped. Please request it again.",
}

#: What may lie in a cache under the key of an entry without being one.
NO_ENTRIES: Final = ("text", 17, {}, [1, 2], {"percentage": 50, "stamp": "yesterday"}, None)


class Page:
    """A page that somebody has open; empty, until it polls for the first time."""

    def __init__(self, user: Any) -> None:
        self.owner = owners.resolve(user)
        self.shows: list[Shown] = []
        self._version: Version | None = None

    def poll(self) -> None:
        """Bring the version that it shows, and show what comes back."""
        listing = store.read_changes(self.owner, self._version)
        if listing is not None:
            self._version, self.shows = listing.version, picture_of(listing)


def picture_of(listing: Listing) -> list[Shown]:
    """Return what a page shows of a listing."""
    return [
        (one.download_key, one.state, one.percentage, one.stalled, one.errors)
        for one in listing.downloads
    ]


class Run:
    """A delivery of a task that builds a file, and goes on only when it is told to.

    It stops before the task saves anything, before each row and after the last
    one, and when the storage has the file and the row does not know of it yet.
    """

    STOPS: Final = ("task", "row", "stored")

    def __init__(self, key: str, number: int, length: int, *, fails_at: int | None = None) -> None:
        self.key = key
        self.cells = [[f"run {number}", row] for row in range(length)]
        self.content = "".join(f"run {number},{row}\n" for row in range(length)).encode()
        self.fails_at = fails_at
        # For those who must know what comes of it.
        self.call = ""
        self.process: Process
        self.begin(0)

    def begin(self, now: float) -> None:
        """Note that the task begins, for the first time or again."""
        self.rows_left = len(self.cells)
        self.heard_at = now
        self.reported = ""

    def save(self) -> None:
        """Save the rows."""
        cache.save_download(self.key, self._rows())

    def _rows(self) -> Iterator[list[Any]]:
        for number, row in enumerate([*self.cells, None]):
            park("row")
            if number == self.fails_at:
                raise RuntimeError(f"Row {number} cannot be made.")
            if row is not None:
                yield row


def export(download_key: str, run: Run) -> None:
    """Build a file as a site's task does."""
    assert download_key == run.key
    try:
        park("task")
    except NothingToDo:
        return
    run.save()


#: How a queue may call it.
CALLS: Final[dict[str, Callable[[Run], object]]] = {
    "plainly": Run.save,
    "by run_task": lambda run: tasks.run_task(f"{__name__}.export", run.key, (run,)),
    "as download_task": lambda run: shortcuts.download_task(export)(run.key, run),
}

USERS: Final = st.integers(0, 1)
WHICH: Final = st.integers(0, 3)
CALL: Final = st.sampled_from(list(CALLS))
LENGTHS: Final = st.integers(0, 2)
FAILS_AT: Final = st.none() | LENGTHS
PERCENTAGES: Final = st.integers(0, 100)

busy = precondition(lambda self: self.running)
idle = precondition(lambda self: len(self.running) < 4)


class Lifecycle(World):
    """One step after the other, each with all that must come of it, to the byte."""

    downloads: Any = Bundle("downloads")

    def __init__(self) -> None:
        super().__init__()
        self.expected: dict[str, Expected] = {}
        self.running: list[Run] = []
        self.pages = [Page(user) for user in self.users]
        self.pages_in_the_background = [Page(user) for user in self.users]
        self.last_steps: dict[str, tuple[int, int]] = {}
        self.numbers = itertools.count(1)

    # What people do

    @initialize(target=downloads, user=USERS, call=CALL, length=LENGTHS)
    def begin(self, user: int, call: str, length: int) -> str:
        """Somebody asks for a file, and a worker is about to build it."""
        key = self.init(self.users[user])
        self.expected[key] = Expected(key, self.users[user], self.now)
        self.deliver(key, call, length, silence=False)
        return key

    @idle
    @precondition(lambda self: len(self.expected) < 4)
    @rule(target=downloads, user=USERS, call=CALL, length=LENGTHS)
    def ask_for_a_file(self, user: int, call: str, length: int) -> str:
        """The list has one more, on top."""
        return self.begin(user, call, length)

    @rule(key=downloads, by=st.sampled_from(["key", "path", "stranger", "finished"]))
    def clear(self, key: str, by: str) -> None:
        """An owner clears a download, running or not, or all that are finished; a stranger none."""
        owner, stranger = self.owners[key].pk, self.stranger_to(key).pk
        path = Download.objects.filter(pk=key).values_list("filepath", flat=True).first() or ""
        if by == "stranger":
            assert not store.clear(stranger, download_key=uuid.UUID(key))
            assert not store.clear(stranger, filepath=path)
        elif by == "finished":
            mine = [one for one in self.expected.values() if one.owner.pk == owner]
            finished = [one for one in mine if not one.unfinished]
            assert store.clear_finished(owner) == sum(self.forget(one.key) for one in finished)
        elif by == "path":
            assert store.clear(owner, filepath=path) is self.forget(key)
        else:
            assert store.clear(owner, download_key=uuid.UUID(key)) is self.forget(key)

    def forget(self, key: str) -> bool:
        """Expect a download no more, and return whether it was expected."""
        return self.expected.pop(key, None) is not None

    # What time, caches and clean-ups do

    @rule(seconds=st.sampled_from([MOMENT, LONG, A_DAY]))
    def time_passes(self, seconds: int) -> None:
        """Nobody does anything for a while."""
        self.clock.advance(seconds)

    @rule(key=downloads, expires=st.booleans())
    def one_grows_old(self, key: str, expires: bool) -> None:
        """The time of one download is up, or nobody has heard of it for long."""
        row, one = Download.objects.filter(pk=key), self.expected.get(key)
        if expires:
            row.update(expires_at=timezone.now())
            if one:
                one.expires_at = self.now
        else:
            row.update(heard_at=long_ago())
            cache_entries.delete_entry(key)
            if one:
                one.heard_at, one.live = self.now - 60 * 60, None
        self.clock.advance(MOMENT)

    @rule(key=downloads, holds=st.sampled_from(["nothing", *NO_ENTRIES]))
    def the_cache_fails(self, key: str, holds: object) -> None:
        """It loses everything, or holds what nobody has put in."""
        the_cache = caches[self.CACHE]
        if holds == "nothing":
            the_cache.clear()
        else:
            the_cache.set(key, holds)
            version = f"poison {next(self.numbers)}"
            the_cache.set(
                f"{self.collection_key(key)}:version", version, cache_entries.VERSION_SECONDS
            )
        for one in self.expected.values():
            if holds == "nothing" or one.key == key:
                one.live = None

    @rule(key=downloads, how=st.sampled_from(["wholly", "by schedule", "one collection"]))
    def clean_up(self, key: str, how: str) -> None:
        """What has expired goes, and who has nothing left; or what has expired with one owner."""
        if how == "one collection":
            owner = self.owners[key]
            self.expect_clean_up(one for one in self.expected.values() if one.owner == owner)
            cache.cleanup_collection(self.collection_key(key))
            return
        self.expect_clean_up(self.expected.values())
        if how == "wholly":
            store.clean_up()
        else:
            tasks.cleanup_expired_downloads()
        left = DownloadCollection.objects.values_list("user", flat=True)
        assert set(left) == {one.owner.pk for one in self.expected.values()}

    def expect_clean_up(self, where: Iterable[Expected]) -> None:
        """Expect that what has expired goes, and that what is overdue fails."""
        for one in list(where):
            if one.expired(self.now):
                self.forget(one.key)
            one.fail_if_overdue(self.now)

    # What processes do that do not build the file

    @rule(
        key=downloads,
        what=st.sampled_from(["progress", "an error", "live progress", "rolled back"]),
        percentage=PERCENTAGES,
    )
    def report(self, key: str, what: str, percentage: int) -> None:
        """Progress counts until the download has ended, an error until it is complete.

        Progress from inside a transaction is seen at once, and changes no row.
        """
        one = self.expected.get(key)
        if what == "an error":
            cache.set_error(key, "No orders today.")
            if one:
                one.fail("No orders today.", self.now)
            return
        report = partial(cache.set_percentage, key, percentage)
        if what == "progress":
            report()
            self.expect_progress(key, percentage)
            return
        inside_a_transaction(report, commits=what == "live progress")
        if one and one.unfinished:
            one.live = (percentage, self.now)

    @rule(key=downloads, total=st.sampled_from([0, 4, 30]), index=st.integers(-1, 31))
    def report_by_index(self, key: str, total: int, index: int) -> None:
        """Of many positions only those count that begin a step."""
        cache.update_percentage(key, total, index)
        if total == 0:
            return
        step, last = min(max(index + 1, 0), total) * 10 // total, self.last_steps.get(key)
        self.last_steps[key] = (total, step)
        if last != (total, step) and (step or last):
            self.expect_progress(key, step * 10)

    def expect_progress(self, key: str, percentage: int) -> None:
        """Expect progress where it counts."""
        one = self.expected.get(key)
        if one and one.unfinished:
            one.write(self.now, percentage=percentage)

    @rule(key=downloads, length=LENGTHS, commits=st.booleans())
    def save_inside_a_transaction(self, key: str, length: int, commits: bool) -> None:
        """It counts with the commit, and leaves the row as it was with a rollback.

        It waits for nobody, and takes nothing from a run that is alive.
        """
        one, before = self.expected.get(key), self.now
        run = Run(key, next(self.numbers), length)
        if one and one.alive(before):
            with pytest.raises(DownloadBusy):
                inside_a_transaction(run.save, commits=commits)
            return
        inside_a_transaction(run.save, commits=commits)
        self.let_a_moment_pass_since(before)
        if one and one.attempts < MAX_ATTEMPTS and one.state != "complete":
            one.live = (one.percentage if one.state == "pending" else 0, self.now)
        if one and commits and not one.refuse(self.now):
            one.complete(run.content, self.now)

    # What a queue and its workers do

    @idle
    @rule(key=downloads, call=CALL, length=LENGTHS, silence=st.booleans())
    def deliver(self, key: str, call: str, length: int, silence: bool) -> None:
        """A task is delivered, the first time or again, whatever else is going on.

        If another run is alive, it waits until that has stalled: nothing else
        happens here meanwhile.
        """
        if silence:
            self.one_grows_old(key, expires=False)
        before, run = self.now, Run(key, next(self.numbers), length)
        run.call, run.process = call, self.process(partial(CALLS[call], run), stops=Run.STOPS)
        self.running.append(run)
        run.process.step()
        self.expect_turn(run, before)

    def expect_turn(self, run: Run, before: float) -> None:
        """Expect that a run has its turn, once no other one is alive; or that there is none."""
        one = self.expected.get(run.key)
        assert one is None or not one.alive(self.now)
        if one and one.claim(run, self.now):
            run.begin(self.now)
            assert run.process.place == ("row" if run.call == "plainly" else "task")
        else:
            self.expect_end(run)
        self.let_a_moment_pass_since(before)

    @busy
    @rule(which=WHICH, steps=st.integers(1, 3))
    def go_on(self, which: int, steps: int) -> None:
        """A worker goes on to where it stops next, or further, or to its end."""
        run = self.worker(which)
        for _ in range(steps):
            if run in self.running:
                self.advance(run)

    @busy
    @rule(which=WHICH)
    def finish(self, which: int) -> None:
        """A worker goes on to its end."""
        run = self.worker(which)
        while run in self.running:
            self.advance(run)

    def advance(self, run: Run) -> None:
        """Let a worker go on, with what must come of it."""
        one, place, now = self.held(run), run.process.place, self.now
        beats = run.rows_left == 0 or now - run.heard_at >= HEARTBEAT
        run.process.step()
        if place == "task":
            if one and run.reported and one.state == "failed":
                one.write(self.now, state="running", errors="")
            run.reported = ""
            assert run.process.place == "row"
        elif not one and (place == "stored" or beats):
            self.expect_cancelled(run, now)
        elif one and place == "stored":
            one.complete(run.content, self.now)
            self.expect_end(run)
        else:
            if one and beats:
                before = one.expired(now), one.shown(now)
                self.hear(one, run)
                if before != (False, one.shown(self.now)):
                    # A sign of life is not told, so a page may show what was before for a moment.
                    self.clock.advance(MOMENT)
            assert run.process.place == ("row" if run.rows_left else "stored")
            run.rows_left -= 1

    @busy
    @rule(
        which=WHICH,
        what=st.sampled_from(["progress", "live progress", "an error"]),
        percentage=PERCENTAGES,
    )
    def report_from_inside(self, which: int, what: str, percentage: int) -> None:
        """A task reports an error, which does not end it.

        Or it reports progress, which ends it if it has lost its download.
        """
        run = self.worker(which)
        if run.process.place == "stored":
            return
        one, before = self.held(run), self.now
        report = partial(cache.set_percentage, run.key, percentage)
        if what == "an error":
            run.reported = "A row was left out."
            run.process.step(partial(cache.set_error, run.key, run.reported))
            if one:
                one.fail(run.reported, self.now)
            return
        run.process.step(report if what == "progress" else partial(inside_a_transaction, report))
        if one is None:
            self.expect_cancelled(run, before)
        elif what == "progress":
            self.hear(one, run, percentage=percentage)
        else:
            one.live = (percentage, self.now)
            run.heard_at = self.now

    @busy
    @rule(which=WHICH, kind=st.sampled_from([None, NothingToDo, *FAILURES]))
    def end_badly(self, which: int, kind: type[BaseException] | None) -> None:
        """A worker is killed, finds nothing to do, or fails, as may its storage."""
        run = self.worker(which)
        if kind is None:
            self.running.remove(run)
        elif kind in FAILURES:
            self.fail(run, kind)
        elif run.process.place == "task":
            self.end_without_a_file(run)

    def fail(self, run: Run, kind: type[BaseException]) -> None:
        """Let a task fail, with what the task has told the owner, or what is fit to be told."""
        one, place, before = self.held(run), run.process.place, self.now
        run.process.step(partial(throw, kind(FAILURES[kind])))
        if one:
            one.fail(run.reported or FAILURES[kind], self.now)
        if kind is SystemExit:
            self.expect_end(run, SystemExit if run.call == "plainly" else RuntimeError)
        elif kind is RuntimeError and place == "task":
            self.expect_end(run, RuntimeError)
        elif one or run.call == "plainly":
            self.expect_end(run)
        else:
            self.expect_another_turn(run, before)

    def end_without_a_file(self, run: Run) -> None:
        """Let a task find nothing to do: one that had to make a file has failed."""
        one, before = self.held(run), self.now
        run.process.step(partial(throw, NothingToDo()))
        if one is None:
            self.expect_another_turn(run, before)
            return
        if one.state == "running" and run.call == "as download_task":
            one.fail("The task ended without a file. Please request it again.", self.now)
        elif one.state == "running":
            one.release(self.now)
        self.expect_end(run)

    # What is always true

    @invariant()
    def rows_and_files_are_as_expected(self) -> None:
        """What is gone stays gone; what is complete stays so, and has its whole file."""
        found = rows()
        assert found.keys() == self.expected.keys()
        for key, row in found.items():
            one = self.expected[key]
            assert (row.state, row.percentage) == (one.state, one.percentage)
            assert (row.errors, row.attempts) == (one.errors, one.attempts)
            assert row.attempts <= MAX_ATTEMPTS
            assert bool(row.url) is row.complete
            if row.complete:
                assert content_of(row) == one.content
                assert row.size == len(one.content or b"")
        assert {key for key, _ in stored()} <= found.keys()

    @invariant()
    def pages_are_as_expected(self) -> None:
        """Each person sees at once what is theirs, newest first, and nothing else.

        So do pages in the background, which do not look every time.
        """
        look_at_all = next(self.numbers) % 3 == 0
        for page in [*self.pages, *(self.pages_in_the_background if look_at_all else ())]:
            for one in self.expected.values():
                if one.owner.pk == page.owner.user_id:
                    one.fail_if_overdue(self.now)
            page.poll()
            assert page.shows == self.picture_for(page)

    def end(self) -> None:
        """Once all have ended, a day later nothing is left of anything."""
        while self.running:
            self.advance(self.running[0])
            self.rows_and_files_are_as_expected()
        self.pages_are_as_expected()
        for _ in range(2):
            # What is unfinished fails first.
            self.clock.advance(A_DAY)
            store.clean_up()
        assert rows() == {}
        assert stored() == set()
        assert not DownloadCollection.objects.exists()

    # What the rules above are made of

    def picture_for(self, page: Page) -> list[Shown]:
        """Return what a page must show."""
        now = self.now
        mine = [one for one in self.expected.values() if one.owner.pk == page.owner.user_id]
        return [one.shown(now) for one in reversed(mine) if not one.expired(now)]

    def worker(self, which: int) -> Run:
        """Return one of the runs that have not ended."""
        return self.running[which % len(self.running)]

    def held(self, run: Run) -> Expected | None:
        """Return the download of a run, if the run may write to it."""
        one = self.expected.get(run.key)
        return one if one and one.held_by(run) else None

    def hear(self, one: Expected, run: Run, **columns: Any) -> None:
        """Expect that a run has written to its row."""
        run.heard_at = self.now
        one.write(run.heard_at, **columns)

    def expect_end(self, run: Run, error: type[BaseException] | None = None) -> None:
        """Expect that a run has ended, and how."""
        self.running.remove(run)
        assert run.process.ended
        assert run.process.error is error or type(run.process.error) is error

    def expect_cancelled(self, run: Run, before: float) -> None:
        """Expect that a run is stopped because its download is not its own any more."""
        if run.call == "plainly":
            self.expect_end(run, DownloadCancelled)
        else:
            self.expect_another_turn(run, before)

    def expect_another_turn(self, run: Run, before: float) -> None:
        """Expect that a task that has lost its download stays behind the run that has it."""
        one = self.expected.get(run.key)
        if one and one.state == "running" and one.attempts >= MAX_ATTEMPTS:
            # It was alive and silent itself when the other one took over.
            self.expect_end(run, DownloadBusy)
            self.let_a_moment_pass_since(before)
        elif one and one.state == "running":
            self.expect_turn(run, before)
        else:
            self.expect_end(run)

    def let_a_moment_pass_since(self, before: float) -> None:
        """Let the tokens of versions expire, if somebody has slept meanwhile."""
        if self.now - before > 0.01:
            self.clock.advance(MOMENT)


def inside_a_transaction(work: Callable[[], object], *, commits: bool = True) -> None:
    """Do something inside a transaction, and commit or roll back."""
    with transaction.atomic():
        work()
        transaction.set_rollback(not commits)


def throw(error: BaseException) -> None:
    """Raise an error where a worker is."""
    raise error


class WithLocalCache(Lifecycle):
    """A cache that other processes do not see; a storage that finds another name."""


class WithSharedCache(Lifecycle):
    """A cache with version tokens; a storage that overwrites."""

    CACHE = "file"
    OVERWRITES = True


class AnyOrder(World):
    """Each statement and each file operation of one process between any two of others.

    It says what must never be, and what must come of it all in the end.
    """

    CACHE = "file"
    STOPS: Final = (*Run.STOPS, "read", "write", "sleep", "store", "list", "delete")
    CHANGES: Final = ("write", "store", "delete")

    downloads: Any = Bundle("downloads")

    def __init__(self) -> None:
        super().__init__()
        self.running: list[Process] = []
        self.somebody_was_killed = False
        self.contents: dict[str, set[bytes]] = {}
        self.before: dict[str, Download] = {}
        self.complete: dict[str, bytes | None] = {}
        self.gone: set[str] = set()
        self.pages = [Page(user) for user in self.users]
        self.numbers = itertools.count(1)

    # Who begins what

    @initialize(target=downloads, user=USERS)
    def ask_for_a_file(self, user: int) -> str:
        """Somebody asks for a file."""
        key = self.init(self.users[user])
        self.contents[key] = set()
        return key

    @precondition(lambda self: not any(row.unfinished for row in self.before.values()))
    @rule(target=downloads, user=USERS)
    def ask_for_another(self, user: int) -> str:
        """Somebody asks for another, once there is nothing to do any more."""
        return self.ask_for_a_file(user)

    @idle
    @rule(key=downloads, call=CALL, length=LENGTHS, fails_at=FAILS_AT)
    def deliver(self, key: str, call: str, length: int, fails_at: int | None) -> None:
        """A queue delivers a task."""
        run = Run(key, next(self.numbers), length, fails_at=fails_at)
        self.contents[key].add(run.content)
        self.begin(partial(CALLS[call], run))

    @idle
    @rule(
        key=downloads,
        what=st.sampled_from(["clear", "report progress", "report an error", "clean up", "poll"]),
    )
    def interfere(self, key: str, what: str) -> None:
        """Somebody else does something."""
        owner = self.owners[key]
        self.begin(
            {
                "clear": partial(store.clear, owner.pk, download_key=uuid.UUID(key)),
                "report progress": partial(cache.set_percentage, key, 50),
                "report an error": partial(cache.set_error, key, "No orders today."),
                "clean up": tasks.cleanup_expired_downloads,
                "poll": self.pages[self.users.index(owner)].poll,
            }[what]
        )

    @rule(key=downloads, length=LENGTHS, commits=st.booleans())
    def save_inside_a_transaction(self, key: str, length: int, commits: bool) -> None:
        """Somebody saves inside a transaction, which is one step for all others."""
        run = Run(key, next(self.numbers), length)
        self.contents[key].add(run.content)
        with suppress(DownloadBusy):
            inside_a_transaction(run.save, commits=commits)

    def begin(self, work: Callable[[], object]) -> None:
        """Have a process that is about to do something."""
        self.running.append(self.process(work, stops=self.STOPS))

    # Who goes on, and how far

    @busy
    @rule(
        which=WHICH,
        until=st.sampled_from(["it stops", "it has changed something", "its end", "it is killed"]),
    )
    def go_on(self, which: int, until: str) -> None:
        """A process goes on to where it stops next, or further; or it never does."""
        process, goes_on = self.running[which % len(self.running)], until != "it is killed"
        if not goes_on:
            self.running.remove(process)
            self.somebody_was_killed = True
        while goes_on and process in self.running:
            place = process.place
            self.step(process)
            goes_on = until == "its end" or (
                until == "it has changed something" and place not in self.CHANGES
            )

    @rule(seconds=st.sampled_from([MOMENT, LONG, A_DAY]), flush=st.booleans())
    def time_passes(self, seconds: int, flush: bool) -> None:
        """Nobody does anything for a while; the cache may lose everything meanwhile."""
        self.clock.advance(seconds)
        if flush:
            caches[self.CACHE].clear()

    def step(self, process: Process) -> None:
        """Let a process take one step, after which nothing may be wrong."""
        process.step()
        self.nothing_is_wrong()
        if process.ended:
            self.running.remove(process)
            assert isinstance(process.error, DownloadCancelled | DownloadBusy | None)

    # What must never be, and what must be in the end

    @invariant()
    def nothing_is_wrong(self) -> None:
        """What is complete has its whole file and keeps it; what is gone stays gone.

        Nothing is tried too often, or taken from a run that is alive.
        """
        found, now = rows(), timezone.now()
        assert not self.gone & found.keys()
        self.gone = self.contents.keys() - found.keys()
        for key, row in found.items():
            assert row.attempts <= MAX_ATTEMPTS
            before = self.before.get(key, row)
            if before.state == row.state == "running" and before.claim != row.claim:
                assert (now - before.heard_at).total_seconds() > STALLED_AFTER
            if before.complete:
                assert (row.state, row.filepath) == (before.state, before.filepath)
            if row.complete:
                content = content_of(row)
                assert content in self.contents[key]
                assert row.size == len(content or b"")
                assert content == self.complete.setdefault(key, content)
        self.before = found

    def end(self) -> None:
        """Everybody is told the truth, and in the end nothing is left."""
        while self.running:
            self.step(self.running[0])
        if self.somebody_was_killed:
            # The token that tells of a last write may not have been written.
            self.clock.advance(MOMENT)
        for page in self.pages:
            page.poll()
            now = picture_of(store.read_listing(page.owner))
            # What stalls without a write may be seen a moment later.
            assert [one[:3] + one[4:] for one in page.shows] == [one[:3] + one[4:] for one in now]
        self.clock.advance(LONG)
        assert not any(row.in_progress for row in rows().values())
        if not self.somebody_was_killed:
            assert {key for key, _ in stored()} <= rows().keys()
        for _ in range(2):
            self.clock.advance(A_DAY)
            store.clean_up()
        assert rows() == {}
        assert self.somebody_was_killed or stored() == set()


class AnyOrderOverwriting(AnyOrder):
    """The same with a storage that overwrites."""

    OVERWRITES = True


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Keep no log of what is meant to go wrong."""
    caplog.set_level(logging.CRITICAL + 1, logger="async_downloads")


@pytest.mark.parametrize("machine", [WithLocalCache, WithSharedCache])
def test_each_step_does_what_is_promised(machine: type[World]) -> None:
    search(machine, examples=30, steps=15)


@pytest.mark.parametrize("machine", [AnyOrder, AnyOrderOverwriting])
def test_no_order_of_events_breaks_a_promise(machine: type[World]) -> None:
    search(machine, examples=30, steps=20)
