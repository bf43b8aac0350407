"""Any order of what users, workers, queues, caches and time can do to downloads."""

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


class NothingToDo(Exception):  # noqa: N818 (not an error)
    """Ends a task without a file."""


#: How a task may fail, and the text that its owner sees.
FAILURES: Final[dict[type[BaseException], str]] = {
    RuntimeError: "Something went wrong while creating the file. Please request it again.",
    DownloadError: "The month is not closed.",
    SystemExit: "It took too long, or was stopped. Please request it again.",
}

#: Values under the key of a cache entry that are not one.
NO_ENTRIES: Final = ("text", 17, {}, [1, 2], {"percentage": 50, "stamp": "yesterday"}, None)


class Page:
    """The page of a user; empty until it polls for the first time."""

    def __init__(self, user: Any) -> None:
        self.owner = owners.resolve(user)
        self.shows: list[Shown] = []
        self._version: Version | None = None

    def poll(self) -> None:
        """Send the version that it shows, and show the answer."""
        listing = store.read_changes(self.owner, self._version)
        if listing is not None:
            self._version, self.shows = listing.version, picture_of(listing)


def picture_of(listing: Listing) -> list[Shown]:
    """Return a listing as a page shows it."""
    return [
        (one.download_key, one.state, one.percentage, one.stalled, one.errors)
        for one in listing.downloads
    ]


class Delivery:
    """A delivery of a task that builds a file; it moves only by steps.

    It stops before the task saves anything, before each row and after the last one, and
    when the storage has the file but the row does not say so yet.
    """

    STOPS: Final = ("task", "row", "stored")

    def __init__(self, key: str, number: int, length: int, *, fails_at: int | None = None) -> None:
        self.key = key
        self.cells = [[f"delivery {number}", row] for row in range(length)]
        self.content = "".join(f"delivery {number},{row}\n" for row in range(length)).encode()
        self.fails_at = fails_at
        # The name of the call in CALLS, which decides what must follow.
        self.call = ""
        self.process: Process
        self.begin(0)

    def begin(self, now: float) -> None:
        """Reset: the task begins, for the first time or again."""
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


def export(download_key: str, delivery: Delivery) -> None:
    """Build a file as a site's task does."""
    assert download_key == delivery.key
    try:
        park("task")
    except NothingToDo:
        return
    delivery.save()


#: How a queue may call the task.
CALLS: Final[dict[str, Callable[[Delivery], object]]] = {
    "plainly": Delivery.save,
    "by run_task": lambda delivery: tasks.run_task(f"{__name__}.export", delivery.key, (delivery,)),
    "as download_task": lambda delivery: shortcuts.download_task(export)(delivery.key, delivery),
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
    """One step at a time, with everything that must follow from it, to the byte."""

    downloads: Any = Bundle("downloads")

    def __init__(self) -> None:
        super().__init__()
        self.expected: dict[str, Expected] = {}
        self.running: list[Delivery] = []
        self.pages = [Page(user) for user in self.users]
        self.pages_in_the_background = [Page(user) for user in self.users]
        self.last_steps: dict[str, tuple[int, int]] = {}
        self.numbers = itertools.count(1)

    # Users

    @initialize(target=downloads, user=USERS, call=CALL, length=LENGTHS)
    def begin(self, user: int, call: str, length: int) -> str:
        """A user requests a file, and a worker is about to build it."""
        key = self.init(self.users[user])
        self.expected[key] = Expected(key, self.users[user], self.now)
        self.deliver(key, call, length, silence=False)
        return key

    @idle
    @precondition(lambda self: len(self.expected) < 4)
    @rule(target=downloads, user=USERS, call=CALL, length=LENGTHS)
    def request_a_file(self, user: int, call: str, length: int) -> str:
        """A user requests one more file, which comes first in the list."""
        return self.begin(user, call, length)

    @rule(key=downloads, by=st.sampled_from(["key", "path", "stranger", "finished"]))
    def clear(self, key: str, by: str) -> None:
        """An owner clears a download in any state, or all finished ones; a stranger clears none."""
        owner, stranger = self.owners[key].pk, self.stranger_to(key).pk
        path = Download.objects.filter(pk=key).values_list("filepath", flat=True).first() or ""
        if by == "stranger":
            assert not store.clear(stranger, download_key=uuid.UUID(key))
            assert not store.clear(stranger, filepath=path)
        elif by == "finished":
            mine = [one for one in self.expected.values() if one.owner.pk == owner]
            finished = [one for one in mine if not one.unfinished]
            active = [one for one in finished if not one.expired(self.now)]
            assert store.clear_finished(owner) == len(active)
            if active:
                # The batches that delete files take the expired downloads along.
                for one in finished:
                    self.forget(one.key)
        elif by == "path":
            assert store.clear(owner, filepath=path) is self.forget(key)
        else:
            assert store.clear(owner, download_key=uuid.UUID(key)) is self.forget(key)

    def forget(self, key: str) -> bool:
        """Expect a download no more, and return whether it was expected."""
        return self.expected.pop(key, None) is not None

    # Time, caches and clean-ups

    @rule(seconds=st.sampled_from([MOMENT, LONG, A_DAY]))
    def time_passes(self, seconds: int) -> None:
        """Nothing happens for a while."""
        self.clock.advance(seconds)

    @rule(key=downloads, expires=st.booleans())
    def one_grows_old(self, key: str, expires: bool) -> None:
        """One download expires, or its attempt stalls."""
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
        """The cache loses everything, or another program has written to it."""
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
        """A clean-up deletes expired downloads and empty collections, or those of one owner."""
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
        """Expect that expired downloads are deleted, and overdue ones fail."""
        for one in list(where):
            if one.expired(self.now):
                self.forget(one.key)
            one.fail_if_overdue(self.now)

    # Reports from other processes

    @rule(
        key=downloads,
        what=st.sampled_from(["progress", "an error", "live progress", "rolled back"]),
        percentage=PERCENTAGES,
    )
    def report(self, key: str, what: str, percentage: int) -> None:
        """Progress counts until the download has ended, an error until it is complete.

        Progress from inside a transaction is visible at once, and changes no row.
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
        """Only the first position of a step counts."""
        cache.update_percentage(key, total, index)
        if total == 0:
            return
        step, last = min(max(index + 1, 0), total) * 10 // total, self.last_steps.get(key)
        self.last_steps[key] = (total, step)
        if last != (total, step) and (step or last):
            self.expect_progress(key, step * 10)

    def expect_progress(self, key: str, percentage: int) -> None:
        """Expect progress if the download is unfinished."""
        one = self.expected.get(key)
        if one and one.unfinished:
            one.write(self.now, percentage=percentage)

    @rule(key=downloads, length=LENGTHS, commits=st.booleans())
    def save_inside_a_transaction(self, key: str, length: int, commits: bool) -> None:
        """A file saved in a transaction counts from the commit; a rollback undoes it.

        It does not wait for another attempt, nor take over from one that is alive.
        """
        one, before = self.expected.get(key), self.now
        delivery = Delivery(key, next(self.numbers), length)
        if one and one.alive(before):
            with pytest.raises(DownloadBusy):
                inside_a_transaction(delivery.save, commits=commits)
            return
        inside_a_transaction(delivery.save, commits=commits)
        self.let_a_moment_pass_since(before)
        if one and one.attempts < MAX_ATTEMPTS and one.state != "complete":
            one.live = (one.percentage if one.state == "pending" else 0, self.now)
        if one and commits and not one.refuse(self.now):
            one.complete(delivery.content, self.now)

    # A queue and its workers

    @idle
    @rule(key=downloads, call=CALL, length=LENGTHS, silence=st.booleans())
    def deliver(self, key: str, call: str, length: int, silence: bool) -> None:
        """A queue delivers a task, for the first time or again, at any time.

        If another attempt is alive, the delivery waits until that has stalled. Nothing else
        happens meanwhile.
        """
        if silence:
            self.one_grows_old(key, expires=False)
        before, delivery = self.now, Delivery(key, next(self.numbers), length)
        delivery.call = call
        delivery.process = self.process(partial(CALLS[call], delivery), stops=Delivery.STOPS)
        self.running.append(delivery)
        delivery.process.step()
        self.expect_turn(delivery, before)

    def expect_turn(self, delivery: Delivery, before: float) -> None:
        """Expect that a delivery claims the download, or ends if there is nothing to do."""
        one = self.expected.get(delivery.key)
        assert one is None or not one.alive(self.now)
        if one and one.claim(delivery, self.now):
            delivery.begin(self.now)
            assert delivery.process.place == ("row" if delivery.call == "plainly" else "task")
        else:
            self.expect_end(delivery)
        self.let_a_moment_pass_since(before)

    @busy
    @rule(which=WHICH, steps=st.integers(1, 3))
    def go_on(self, which: int, steps: int) -> None:
        """A worker continues to its next stop, or further, or to its end."""
        delivery = self.worker(which)
        for _ in range(steps):
            if delivery in self.running:
                self.advance(delivery)

    @busy
    @rule(which=WHICH)
    def finish(self, which: int) -> None:
        """A worker continues to its end."""
        delivery = self.worker(which)
        while delivery in self.running:
            self.advance(delivery)

    def advance(self, delivery: Delivery) -> None:
        """Let a worker continue, and expect what must follow."""
        one, place, now = self.writable(delivery), delivery.process.place, self.now
        beats = delivery.rows_left == 0 or now - delivery.heard_at >= HEARTBEAT
        delivery.process.step()
        if place == "task":
            if one and delivery.reported and one.state == "failed":
                one.write(self.now, state="running", errors="")
            delivery.reported = ""
            assert delivery.process.place == "row"
        elif not one and (place == "stored" or beats):
            self.expect_cancelled(delivery, now)
        elif one and place == "stored":
            one.complete(delivery.content, self.now)
            self.expect_end(delivery)
        else:
            if one and beats:
                before = one.expired(now), one.shown(now)
                self.hear(one, delivery)
                if before != (False, one.shown(self.now)):
                    # A heartbeat sends no signal: for a moment, a page may be out of date.
                    self.clock.advance(MOMENT)
            assert delivery.process.place == ("row" if delivery.rows_left else "stored")
            delivery.rows_left -= 1

    @busy
    @rule(
        which=WHICH,
        what=st.sampled_from(["progress", "live progress", "an error"]),
        percentage=PERCENTAGES,
    )
    def report_from_inside(self, which: int, what: str, percentage: int) -> None:
        """A task reports an error, which does not end it.

        Or it reports progress, which ends it if it has lost its claim.
        """
        delivery = self.worker(which)
        if delivery.process.place == "stored":
            return
        one, before = self.writable(delivery), self.now
        report = partial(cache.set_percentage, delivery.key, percentage)
        if what == "an error":
            delivery.reported = "A row was left out."
            delivery.process.step(partial(cache.set_error, delivery.key, delivery.reported))
            if one:
                one.fail(delivery.reported, self.now)
            return
        delivery.process.step(
            report if what == "progress" else partial(inside_a_transaction, report)
        )
        if one is None:
            self.expect_cancelled(delivery, before)
        elif what == "progress":
            self.hear(one, delivery, percentage=percentage)
        else:
            one.live = (percentage, self.now)
            delivery.heard_at = self.now

    @busy
    @rule(which=WHICH, kind=st.sampled_from([None, NothingToDo, *FAILURES]))
    def end_badly(self, which: int, kind: type[BaseException] | None) -> None:
        """A worker is killed, finds nothing to do, or fails, or its storage fails."""
        delivery = self.worker(which)
        if kind is None:
            self.running.remove(delivery)
        elif kind in FAILURES:
            self.fail(delivery, kind)
        elif delivery.process.place == "task":
            self.end_without_a_file(delivery)

    def fail(self, delivery: Delivery, kind: type[BaseException]) -> None:
        """Let a task fail, with the text that it has reported, or the one for its exception."""
        one, place, before = self.writable(delivery), delivery.process.place, self.now
        delivery.process.step(partial(throw, kind(FAILURES[kind])))
        if one:
            one.fail(delivery.reported or FAILURES[kind], self.now)
        if kind is SystemExit:
            self.expect_end(delivery, SystemExit if delivery.call == "plainly" else RuntimeError)
        elif kind is RuntimeError and place == "task":
            self.expect_end(delivery, RuntimeError)
        elif one or delivery.call == "plainly":
            self.expect_end(delivery)
        else:
            self.expect_another_turn(delivery, before)

    def end_without_a_file(self, delivery: Delivery) -> None:
        """Let a task find nothing to do, which is a failure if it must make a file."""
        one, before = self.writable(delivery), self.now
        delivery.process.step(partial(throw, NothingToDo()))
        if one is None:
            self.expect_another_turn(delivery, before)
            return
        if one.state == "running" and delivery.call == "as download_task":
            one.fail("The task ended without a file. Please request it again.", self.now)
        elif one.state == "running":
            one.release(self.now)
        self.expect_end(delivery)

    # Invariants

    @invariant()
    def rows_and_files_are_as_expected(self) -> None:
        """A deleted download stays deleted; a complete one stays complete, with its whole file."""
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
        """Each user sees at once their own downloads, newest first, and no others.

        So do pages in the background, which poll less often.
        """
        poll_all = next(self.numbers) % 3 == 0
        for page in [*self.pages, *(self.pages_in_the_background if poll_all else ())]:
            for one in self.expected.values():
                if one.owner.pk == page.owner.user_id:
                    one.fail_if_overdue(self.now)
            page.poll()
            assert page.shows == self.picture_for(page)

    def end(self) -> None:
        """A day after the last worker has ended, nothing is left."""
        while self.running:
            self.advance(self.running[0])
            self.rows_and_files_are_as_expected()
        self.pages_are_as_expected()
        for _ in range(2):
            # An unfinished download fails first.
            self.clock.advance(A_DAY)
            store.clean_up()
        assert rows() == {}
        assert stored() == set()
        assert not DownloadCollection.objects.exists()

    # Helpers of the rules

    def picture_for(self, page: Page) -> list[Shown]:
        """Return what a page must show."""
        now = self.now
        mine = [one for one in self.expected.values() if one.owner.pk == page.owner.user_id]
        return [one.shown(now) for one in reversed(mine) if not one.expired(now)]

    def worker(self, which: int) -> Delivery:
        """Return one of the deliveries that have not ended."""
        return self.running[which % len(self.running)]

    def writable(self, delivery: Delivery) -> Expected | None:
        """Return the download of a delivery, if its attempt may write to it."""
        one = self.expected.get(delivery.key)
        return one if one and one.writable_by(delivery) else None

    def hear(self, one: Expected, delivery: Delivery, **columns: Any) -> None:
        """Expect that an attempt has written to its row."""
        delivery.heard_at = self.now
        one.write(delivery.heard_at, **columns)

    def expect_end(self, delivery: Delivery, error: type[BaseException] | None = None) -> None:
        """Expect that a delivery has ended, with this error or without one."""
        self.running.remove(delivery)
        assert delivery.process.ended
        assert delivery.process.error is error or type(delivery.process.error) is error

    def expect_cancelled(self, delivery: Delivery, before: float) -> None:
        """Expect that a delivery is stopped because its attempt has lost the claim."""
        if delivery.call == "plainly":
            self.expect_end(delivery, DownloadCancelled)
        else:
            self.expect_another_turn(delivery, before)

    def expect_another_turn(self, delivery: Delivery, before: float) -> None:
        """Expect that a task whose attempt has lost the claim waits for the one that took over."""
        one = self.expected.get(delivery.key)
        if one and one.state == "running" and one.attempts >= MAX_ATTEMPTS:
            # Its attempt was alive, without heartbeats, when the other one took over.
            self.expect_end(delivery, DownloadBusy)
            self.let_a_moment_pass_since(before)
        elif one and one.state == "running":
            self.expect_turn(delivery, before)
        else:
            self.expect_end(delivery)

    def let_a_moment_pass_since(self, before: float) -> None:
        """Let the version tokens expire, if a process has slept meanwhile."""
        if self.now - before > 0.01:
            self.clock.advance(MOMENT)


def inside_a_transaction(work: Callable[[], object], *, commits: bool = True) -> None:
    """Do something inside a transaction, and commit or roll back."""
    with transaction.atomic():
        work()
        transaction.set_rollback(not commits)


def throw(error: BaseException) -> None:
    """Raise an error where a worker waits."""
    raise error


class WithLocalCache(Lifecycle):
    """A cache that other processes do not see; a storage that chooses another name."""


class WithSharedCache(Lifecycle):
    """A cache with version tokens; a storage that overwrites."""

    CACHE = "file"
    OVERWRITES = True


class AnyOrder(World):
    """Each statement and file operation of a process between any two of the others.

    Checked are what must never happen, and what must be true at the end.
    """

    CACHE = "file"
    STOPS: Final = (*Delivery.STOPS, "read", "write", "sleep", "store", "list", "delete")
    CHANGES: Final = ("write", "store", "delete")

    downloads: Any = Bundle("downloads")

    def __init__(self) -> None:
        super().__init__()
        self.running: list[Process] = []
        self.has_killed = False
        self.contents: dict[str, set[bytes]] = {}
        self.before: dict[str, Download] = {}
        self.complete: dict[str, bytes | None] = {}
        self.gone: set[str] = set()
        self.pages = [Page(user) for user in self.users]
        self.numbers = itertools.count(1)

    # Processes that begin

    @initialize(target=downloads, user=USERS)
    def request_a_file(self, user: int) -> str:
        """A user requests a file."""
        key = self.init(self.users[user])
        self.contents[key] = set()
        return key

    @precondition(lambda self: not any(row.unfinished for row in self.before.values()))
    @rule(target=downloads, user=USERS)
    def request_another(self, user: int) -> str:
        """A user requests another file, once nothing is left to do."""
        return self.request_a_file(user)

    @idle
    @rule(key=downloads, call=CALL, length=LENGTHS, fails_at=FAILS_AT)
    def deliver(self, key: str, call: str, length: int, fails_at: int | None) -> None:
        """A queue delivers a task."""
        delivery = Delivery(key, next(self.numbers), length, fails_at=fails_at)
        self.contents[key].add(delivery.content)
        self.begin(partial(CALLS[call], delivery))

    @idle
    @rule(
        key=downloads,
        what=st.sampled_from(["clear", "report progress", "report an error", "clean up", "poll"]),
    )
    def interfere(self, key: str, what: str) -> None:
        """A process that does not build the file does something."""
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
        """A process saves inside a transaction, which is one step for all others."""
        delivery = Delivery(key, next(self.numbers), length)
        self.contents[key].add(delivery.content)
        with suppress(DownloadBusy):
            inside_a_transaction(delivery.save, commits=commits)

    def begin(self, work: Callable[[], object]) -> None:
        """Add a process that is about to do something."""
        self.running.append(self.process(work, stops=self.STOPS))

    # Processes that continue, and how far

    @busy
    @rule(
        which=WHICH,
        until=st.sampled_from(["it stops", "it has changed something", "its end", "it is killed"]),
    )
    def go_on(self, which: int, until: str) -> None:
        """A process continues to its next stop, or further, or is killed."""
        process, goes_on = self.running[which % len(self.running)], until != "it is killed"
        if not goes_on:
            self.running.remove(process)
            self.has_killed = True
        while goes_on and process in self.running:
            place = process.place
            self.step(process)
            goes_on = until == "its end" or (
                until == "it has changed something" and place not in self.CHANGES
            )

    @rule(seconds=st.sampled_from([MOMENT, LONG, A_DAY]), flush=st.booleans())
    def time_passes(self, seconds: int, flush: bool) -> None:
        """Nothing happens for a while; the cache may lose everything meanwhile."""
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

    # What must never happen, and what must be true at the end

    @invariant()
    def nothing_is_wrong(self) -> None:
        """A complete download has its whole file and keeps it; a deleted one stays deleted.

        There are never too many attempts, and none takes over from one that is alive.
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
        """Every page shows the rows as they are, and in the end nothing is left."""
        while self.running:
            self.step(self.running[0])
        if self.has_killed:
            # The last write may not have renewed the version token.
            self.clock.advance(MOMENT)
        for page in self.pages:
            page.poll()
            now = picture_of(store.read_listing(page.owner))
            # An attempt stalls without a write, so a page may show it a moment later.
            assert [one[:3] + one[4:] for one in page.shows] == [one[:3] + one[4:] for one in now]
        self.clock.advance(LONG)
        assert not any(row.in_progress for row in rows().values())
        if not self.has_killed:
            assert {key for key, _ in stored()} <= rows().keys()
        for _ in range(2):
            self.clock.advance(A_DAY)
            store.clean_up()
        assert rows() == {}
        assert self.has_killed or stored() == set()


class AnyOrderOverwriting(AnyOrder):
    """The same with a storage that overwrites."""

    OVERWRITES = True


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Log nothing: these failures are intended."""
    caplog.set_level(logging.CRITICAL + 1, logger="async_downloads")


@pytest.mark.parametrize("machine", [WithLocalCache, WithSharedCache])
def test_each_step_keeps_its_promises(machine: type[World]) -> None:
    search(machine, examples=30, steps=15)


@pytest.mark.parametrize("machine", [AnyOrder, AnyOrderOverwriting])
def test_no_order_of_events_breaks_a_promise(machine: type[World]) -> None:
    search(machine, examples=30, steps=20)
