"""Downloads of many owners are started at once."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import (
    DatabaseError,
    OperationalError,
    ProgrammingError,
    connection,
    transaction,
)
from django.test.utils import CaptureQueriesContext
from django_q.brokers.orm import ORM

from async_downloads import cache, owners, store
from async_downloads.exceptions import DownloadUnavailable
from async_downloads.executors import bulk_starting
from async_downloads.models import Call, Download, DownloadCollection
from async_downloads.shortcuts import StartedDownloads, download_task, start_download
from async_downloads.shortcuts import start_downloads as start_for_all
from async_downloads.signals import download_changed, download_created
from async_downloads.store import cache_entries, cleanup
from tests import jobs, queues
from tests.attempts import closing_connections, stall_all
from tests.executors.test_starting import NOT_QUEUED
from tests.factories import CustomerFactory, UserFactory
from tests.shop.models import Customer

pytestmark = pytest.mark.django_db(transaction=True)

REFUSED = "You may no longer request this file."

#: The calls of the site's function.
asked: list[tuple[Any, Download]] = []


def may_start(user: Any, download: Download) -> bool:
    asked.append((user, download))
    return user.is_active


class Flaky:
    """A task whose queue takes some messages, and is then away."""

    def __init__(self) -> None:
        self.queued: list[str] = []
        self.tried = 0

    def enqueue(self, download_key: str, *args: Any, **kwargs: Any) -> None:
        self.tried += 1
        if len(self.queued) == 2:
            raise ConnectionError("no route to redis://:secret@queue")
        self.queued.append(download_key)


flaky = Flaky()

PATH = f"{__name__}.flaky"


@pytest.fixture(autouse=True)
def remembered() -> Iterator[None]:
    asked.clear()
    flaky.queued.clear()
    flaky.tried = 0
    yield from jobs.forget()


@pytest.fixture
def people() -> list[Any]:
    return [UserFactory() for _ in range(4)]


def start(users: Any, *args: Any, task: Any = jobs.export, **options: Any) -> StartedDownloads:
    return start_for_all(task, users, "orders.csv", "Orders", args=args, **options)


def keys_of(users: list[Any]) -> list[str]:
    return [owners.resolve(user).collection_key for user in users]


def states() -> dict[Any, str]:
    return dict(Download.objects.values_list("collection__user__username", "state"))


class TestUsers:
    def test_each_gets_a_download_that_is_built(self, people: list[Any]) -> None:
        outcome = start(people, [1, "open"])
        assert [key for key, _ in outcome.started] == keys_of(people)
        rows = {row.download_key: row for row in Download.objects.select_related("collection")}
        assert [rows[key].collection.user for _, key in outcome.started] == people
        for row in rows.values():
            assert (row.name, row.filename, row.times_queued) == ("Orders", "orders.csv", 1)
            assert row.call == Call("tests.jobs.export", [[1, "open"]], {}, asks_first=True)
        queues.run_waiting()
        assert set(states().values()) == {"complete"}

    def test_they_may_be_named_in_each_way_and_more_than_once(self, user: Any) -> None:
        users = [user, user.pk, "ada", "team north", "team north"]
        outcome = start(iter(users))
        assert [key for key, _ in outcome.started] == keys_of([user, "team north"])
        assert Download.objects.count() == 2

    def test_they_may_be_a_queryset_or_its_values(self, people: list[Any]) -> None:
        everybody = get_user_model().objects.order_by("-pk")
        outcome = start(everybody)
        assert [key for key, _ in outcome.started] == keys_of(people[::-1])
        assert start(everybody.values_list("username", flat=True)).skipped == keys_of(people[::-1])

    def test_instances_of_another_model_stand_for_themselves(self, user: Any) -> None:
        customer = CustomerFactory(pk=user.pk)
        outcome = start(Customer.objects.all())
        assert [key for key, _ in outcome.started] == keys_of([customer])

    def test_a_key_that_no_user_has_is_left_out(self, user: Any) -> None:
        outcome = start([987654321, user, 2**70])
        assert outcome.unknown == [987654321, 2**70]
        assert [key for key, _ in outcome.started] == keys_of([user])

    def test_a_user_who_was_deleted_meanwhile_is_left_out(self, people: list[Any]) -> None:
        get_user_model().objects.filter(pk=people[1].pk).delete()
        outcome = start([*people, "team north"])
        assert outcome.unknown == [people[1].pk]
        assert len(outcome.started) == 4
        assert Download.objects.count() == DownloadCollection.objects.count() == 4

    def test_a_value_that_cannot_name_an_owner_is_an_error(self, user: Any) -> None:
        with pytest.raises(TypeError, match="NoneType"):
            start([user, None])
        assert not Download.objects.exists()

    @pytest.mark.parametrize("text", ["ada", b"ada"])
    def test_one_text_is_not_a_list_of_labels(self, user: Any, text: Any) -> None:
        with pytest.raises(TypeError, match="users must be an iterable"):
            start(text)
        assert not Download.objects.exists()

    def test_without_users_nothing_happens(self) -> None:
        assert start([]) == StartedDownloads()
        with pytest.raises(TypeError):
            start([], task=5)

    def test_users_of_earlier_batches_keep_theirs(
        self, people: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bulk_starting, "BATCH_SIZE", 2)
        with pytest.raises(ValueError, match="empty"):
            start([*people, ""])
        assert Download.objects.count() == 4
        assert len(queues.waiting()) == 4

    def test_in_one_transaction_all_get_theirs_or_none(
        self, people: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bulk_starting, "BATCH_SIZE", 2)
        with pytest.raises(ValueError, match="empty"), transaction.atomic():
            start([*people, ""])
        assert not Download.objects.exists()
        assert queues.waiting() == []
        with transaction.atomic():
            start(people)
            assert queues.waiting() == []
        assert len(queues.waiting()) == 4


class TestArguments:
    def test_a_function_returns_those_of_each_user(self, people: list[Any]) -> None:
        start(
            [people[0], people[1].pk, "team north"],
            task=jobs.remember,
            kwargs=lambda user: {"name": getattr(user, "username", user)},
        )
        queues.run_waiting()
        assert [kwargs["name"] for _, kwargs in jobs.calls] == [
            people[0].username,
            people[1].username,
            "team north",
        ]

    @pytest.mark.parametrize("value", [(1, 2), {1: "a"}, {1, 2}], ids=str)
    def test_others_than_plain_values_are_refused(self, user: Any, value: Any) -> None:
        with pytest.raises(ValueError, match="plain JSON types"):
            start([user], value)
        with pytest.raises(ValueError, match="plain JSON types"):
            start([user], task=jobs.remember, kwargs=lambda _: {"value": value})
        assert not Download.objects.exists()

    def test_a_task_without_a_path_is_refused(self, user: Any) -> None:
        with pytest.raises(ValueError, match="dotted path"):
            start([user], task=jobs.Backend())

    def test_long_ones_are_split_into_several_statements(
        self, people: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bulk_starting, "MAX_CHARACTERS", 2_500)
        with CaptureQueriesContext(connection) as queries:
            start(people, "x" * 1_000)
        table = Download._meta.db_table
        inserts = [query for query in queries if query["sql"].startswith("INSERT")]
        assert len([query for query in inserts if table in query["sql"][:60]]) >= 2
        assert Download.objects.count() == 4

    def test_names_are_checked_before_anything_is_written(self, user: Any) -> None:
        for names in (("",), (5,), ("a.csv", 5)):
            with pytest.raises((TypeError, ValueError)):
                start_for_all(jobs.export, [user], *names)
        with pytest.raises(ValueError, match="unless_unfinished"):
            start([user], unless_unfinished=False, fresh_for=5)
        assert not Download.objects.exists()


class TestSkipping:
    def test_an_owner_whose_last_one_is_unfinished_is_skipped(self, people: list[Any]) -> None:
        start(people[:2])
        outcome = start(people)
        assert outcome.skipped == keys_of(people[:2])
        assert [key for key, _ in outcome.started] == keys_of(people[2:])
        queues.run_waiting()
        assert len(start(people).started) == 4

    def test_so_is_one_that_has_waited_for_long(self, user: Any) -> None:
        """It has not been lost: there may be hundreds before it."""
        start([user])
        stall_all()
        assert start([user]).skipped == keys_of([user])

    def test_so_is_one_whose_worker_has_died_if_it_is_rescued(
        self, user: Any, settings: Any
    ) -> None:
        start([user])
        Download.objects.update(state="running", attempts=1)
        stall_all()
        assert start([user]).skipped == keys_of([user])
        settings.ASYNC_DOWNLOADS_RESCUE = False
        assert start([user]).skipped == []

    @pytest.mark.parametrize(
        ("filename", "arguments"),
        [("orders.xlsx", ["open"]), ("orders.csv", ["shipped"]), ("orders.csv", ["OPEN"])],
    )
    def test_another_file_does_not_count(
        self, user: Any, filename: str, arguments: list[str]
    ) -> None:
        start([user], "open")
        assert start_for_all(jobs.export, [user], filename, args=arguments).skipped == []

    def test_one_that_its_owner_has_started_counts_and_is_joined(self, user: Any) -> None:
        _, key = start_download(jobs.export, user, "orders.csv", args=["open"])
        assert start([user], "open").skipped == keys_of([user])
        Download.objects.all().delete()
        ((_, key),) = start([user], "open").started
        joined = start_download(jobs.export, user, "orders.csv", args=["open"], join=True)
        assert joined == (owners.resolve(user).collection_key, key)

    def test_a_complete_one_counts_for_as_long_as_it_is_fresh(self, user: Any) -> None:
        start([user])
        queues.run_waiting()
        assert start([user], fresh_for=3600).skipped == keys_of([user])
        assert start([user]).skipped == []

    def test_a_failed_one_does_not_count(self, user: Any) -> None:
        ((_, key),) = start([user]).started
        cache.set_error(key, "No orders.")
        assert start([user], fresh_for=3600).skipped == []

    def test_without_the_rule_there_are_two(self, user: Any) -> None:
        start([user])
        assert start([user], unless_unfinished=False).skipped == []
        assert Download.objects.count() == 2

    def test_an_owner_at_the_limit_does_not_keep_the_others_from_theirs(
        self, people: list[Any], settings: Any
    ) -> None:
        settings.ASYNC_DOWNLOADS_MAX_ACTIVE = 1
        cache.init_download(people[0], "other.csv")
        outcome = start(people)
        assert outcome.at_limit == keys_of(people[:1])
        assert len(outcome.started) == 3
        assert Download.objects.count() == 4


class TestRights:
    @pytest.fixture(autouse=True)
    def function(self, settings: Any) -> None:
        settings.ASYNC_DOWNLOADS_MAY_START = f"{__name__}.may_start"

    def test_they_are_checked_when_the_file_is_built(self, people: list[Any]) -> None:
        gone, *others = people
        start(people)
        assert asked == []
        get_user_model().objects.filter(pk=gone.pk).update(is_active=False)
        queues.run_waiting()
        assert {user for user, _ in asked} == set(people)
        refused = Download.objects.get(collection__user=gone)
        assert (refused.state, refused.errors, refused.attempts) == ("failed", REFUSED, 0)
        assert "ASYNC_DOWNLOADS_MAY_START" in refused.error_detail
        assert {states()[user.username] for user in others} == {"complete"}
        assert len(jobs.calls) == 3

    def test_so_they_are_with_celery(self, user: Any) -> None:
        get_user_model().objects.update(is_active=False)
        with jobs.eager_celery():
            start([user], task=jobs.celery_decorated)
        assert Download.objects.get().errors == REFUSED

    def test_a_function_that_only_saves_stores_nothing(self, user: Any) -> None:
        ((_, key),) = start([user]).started
        get_user_model().objects.update(is_active=False)
        assert store.claim(key) is None
        assert Download.objects.get().errors == REFUSED

    def test_they_are_checked_again_at_each_attempt(self, user: Any) -> None:
        ((_, key),) = start([user]).started
        attempt = store.claim(key)
        assert attempt is not None
        assert len(asked) == 1
        stall_all()
        get_user_model().objects.update(is_active=False)
        assert store.rescue_alone() == store.Rescue(requeued=1)
        queues.run_waiting()
        assert Download.objects.get().errors == REFUSED

    def test_a_function_that_raises_refuses(self, user: Any, settings: Any) -> None:
        settings.ASYNC_DOWNLOADS_MAY_START = "tests.jobs.fail_for_people"
        start([user])
        queues.run_waiting()
        assert Download.objects.get().errors == REFUSED

    def test_they_are_checked_once_the_database_is_back(
        self, user: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The function reads from it, and knows nothing of the person while it is away."""
        faults = [OperationalError("the database system is starting up")] * 3

        def may_start(user: Any, download: Download) -> bool:
            if faults:
                raise faults.pop()
            return True

        monkeypatch.setitem(globals(), "may_start", may_start)
        start([user])
        queues.run_waiting()
        assert faults == []
        assert Download.objects.get().complete

    def test_a_database_that_stays_away_decides_nothing(
        self, user: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.ASYNC_DOWNLOADS_DATABASE_WAIT = 0
        raised: list[Exception] = [OperationalError("no route to host")]

        def may_start(user: Any, download: Download) -> bool:
            raise raised[0]

        monkeypatch.setitem(globals(), "may_start", may_start)
        ((_, key),) = start([user]).started
        with pytest.raises(DownloadUnavailable):
            store.claim(key)
        with transaction.atomic(), pytest.raises(OperationalError):
            store.claim(key)
        assert Download.objects.get().state == "pending"
        raised[0] = ProgrammingError("no such table")
        assert store.claim(key) is None
        assert Download.objects.get().errors == REFUSED

    def test_a_label_has_none(self) -> None:
        start(["team north"])
        queues.run_waiting()
        assert Download.objects.get().complete
        assert asked == []

    def test_a_download_that_a_view_has_started_is_not_asked_about(self, user: Any) -> None:
        start_download(jobs.export, user, "orders.csv")
        queues.run_waiting()
        assert Download.objects.get().complete
        assert asked == []

    def test_inside_a_transaction_of_the_task_they_are_checked_too(self, user: Any) -> None:
        ((_, key),) = start([user]).started
        get_user_model().objects.update(is_active=False)
        with transaction.atomic():
            assert store.claim(key) is None
        assert Download.objects.get().errors == REFUSED

    def test_the_menu_of_a_refused_download_says_so(self, user: Any, shared_cache: str) -> None:
        ((_, key),) = start([user]).started
        owner = owners.resolve(user)
        assert store.read_summary(owner).running == 1
        get_user_model().objects.update(is_active=False)
        download_task(jobs.export)(key)
        assert store.read_summary(owner).running == 0


class TestPublishing:
    def test_each_change_is_seen_and_has_its_signals(
        self, people: list[Any], shared_cache: str
    ) -> None:
        everybody = [owners.resolve(user) for user in people]
        assert {store.read_summary(owner).running for owner in everybody} == {0}
        before = cache_entries.get_versions(keys_of(people))
        received: list[tuple[str, Any]] = []

        def created(download: Download, **_: Any) -> None:
            received.append(("created", download.download_key))

        def changed(download_key: str, user_id: Any, change: str, **_: Any) -> None:
            received.append((f"changed: {change}", (download_key, user_id)))

        download_created.connect(created)
        download_changed.connect(changed)
        try:
            with transaction.atomic():
                started = start(people).started
                keys = {key for _, key in started}
                entries, _ = cache_entries.get_entries_and_marks(keys, [])
                assert set(entries) == keys
                assert received == []
        finally:
            download_created.disconnect(created)
            download_changed.disconnect(changed)
        expected: list[tuple[str, Any]] = []
        for user, (_, key) in zip(people, started, strict=True):
            expected += [("changed: created", (key, user.pk)), ("created", key)]
        assert received == expected
        after = cache_entries.get_versions(keys_of(people))
        assert set(before.values()).isdisjoint(after.values())
        assert len(set(after.values())) == 4
        assert {store.read_summary(owner).running for owner in everybody} == {1}
        assert entries[started[0][1]]["user"] == people[0].username

    def test_any_cache_may_be_away(self, people: list[Any], dead_cache: str) -> None:
        assert len(start(people).started) == 4
        queues.run_waiting()
        assert set(states().values()) == {"complete"}


class TestQueue:
    def test_if_it_is_away_all_fail_after_one_attempt(
        self, people: list[Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        start(people, task=jobs.celery_remember_dead)
        assert {row.errors for row in Download.objects.all()} == {NOT_QUEUED}
        assert len([each for each in caplog.messages if "could not be queued" in each]) == 1
        # They do not keep the next ones back.
        assert start(people, task=jobs.celery_remember_dead).skipped == []

    def test_if_it_goes_away_the_rest_fails(self, people: list[Any], shared_cache: str) -> None:
        started = start(people, task=PATH).started
        keys = [key for _, key in started]
        assert flaky.queued == keys[:2]
        assert flaky.tried == 3
        failed = Download.objects.filter(state="failed")
        assert {row.download_key for row in failed} == set(keys[2:])
        assert {row.errors for row in failed} == {NOT_QUEUED}
        assert "ConnectionError" in failed[0].error_detail
        entry = cache_entries.get_entry(keys[3])
        assert entry is not None
        assert entry["state"] == "failed"

    def test_a_queue_in_a_table_takes_all_or_none(
        self, people: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real, calls = ORM.enqueue, []

        def enqueue(self: ORM, task: Any) -> Any:
            calls.append(task)
            if len(calls) == 3:
                raise DatabaseError("The table is full.")
            return real(self, task)

        monkeypatch.setattr(ORM, "enqueue", enqueue)
        start(people)
        assert queues.waiting() == []
        assert {row.errors for row in Download.objects.all()} == {NOT_QUEUED}

    def test_one_that_was_lost_is_queued_again_by_the_rescue(self, user: Any) -> None:
        start([user], task=PATH)
        stall_all()
        assert store.rescue_alone() == store.Rescue(requeued=1)
        assert len(flaky.queued) == 2


def statements(users: list[Any]) -> list[str]:
    """Return the kinds of statements that a start costs, besides messages in django-q2's table."""
    with CaptureQueriesContext(connection) as queries:
        start(users)
    texts = [query["sql"] for query in queries if "django_q_ormq" not in query["sql"]]
    kinds = [text.split(maxsplit=1)[0] for text in texts]
    if connection.features.max_query_params is not None:
        # SQLite takes few parameters, so that Django splits what is inserted.
        pairs = zip(["", *kinds], kinds, strict=False)
        kinds = [kind for last, kind in pairs if not last == kind == "INSERT"]
    # Only some databases count BEGIN and COMMIT.
    return [kind for kind in kinds if kind in {"SELECT", "INSERT"}]


@pytest.mark.parametrize("limit", [None, 3])
def test_500_users_cost_as_few_statements_as_one(settings: Any, limit: int | None) -> None:
    settings.ASYNC_DOWNLOADS_MAX_ACTIVE = limit
    users = get_user_model()
    users.objects.bulk_create(users(username=f"person{number}") for number in range(1000))
    keys = list(users.objects.values_list("pk", flat=True))
    active = ["SELECT"] if limit else []
    # Users; their collections are locked, inserted and locked; the same downloads; rows.
    new = ["SELECT", "SELECT", "INSERT", "SELECT", "SELECT", *active, "INSERT"]
    assert statements(keys[:1]) == new
    assert statements(keys[1:501]) == new
    # If all are skipped: users, collections, the same downloads.
    skipped = ["SELECT", "SELECT", "SELECT", *active]
    assert statements(keys[1:501]) == skipped
    # Another batch begins after 500.
    assert statements(keys) == [*skipped, *new]


def in_threads(*works: Callable[[], Any]) -> list[Any]:
    """Work in threads that begin together, and return the results."""
    barrier = threading.Barrier(len(works))

    def together(work: Callable[[], Any]) -> Any:
        barrier.wait()
        return closing_connections(work)

    with ThreadPoolExecutor(max_workers=len(works)) as pool:
        return list(pool.map(together, works))


@pytest.mark.parametrize("limit", [None, 3])
@pytest.mark.parametrize("known", [True, False], ids=["known owners", "new owners"])
def test_two_schedulers_at_once_start_one_download_for_each(
    settings: Any, shared_cache: str, limit: int | None, known: bool
) -> None:
    settings.ASYNC_DOWNLOADS_MAX_ACTIVE = limit
    people = [UserFactory() for _ in range(30)]
    if known:
        start(people)
        Download.objects.all().delete()
    queued_before = len(queues.waiting())
    # They meet the same people in another order.
    orders = [people, people[::-1], people[15:] + people[:15]]
    outcomes = in_threads(*(lambda order=order: start(order) for order in orders))
    assert Download.objects.count() == DownloadCollection.objects.count() == 30
    assert sum(len(outcome.started) for outcome in outcomes) == 30
    assert sum(len(outcome.skipped) for outcome in outcomes) == 60
    assert len(queues.waiting()) == queued_before + 30


@pytest.mark.parametrize("unless_unfinished", [True, False])
def test_a_clean_up_that_removes_collections_meanwhile_loses_none(
    shared_cache: str, unless_unfinished: bool
) -> None:
    people = [UserFactory() for _ in range(20)]
    done = threading.Event()
    removals: list[int] = []

    def start_some() -> list[str]:
        return [key for _, key in start(people, unless_unfinished=unless_unfinished).started]

    def start_and_purge() -> list[str]:
        rounds = 0
        # Without a removal, the test would prove nothing.
        while rounds < 5 or not (sum(removals) or rounds > 100):
            store.purge(Download.objects.filter(pk__in=start_some()))
            rounds += 1
        return start_some()

    def both() -> list[str]:
        try:
            return in_threads(start_and_purge, start_and_purge)
        finally:
            done.set()

    def clean_up() -> None:
        while not done.is_set():
            removals.append(cleanup.delete_empty())

    (first, second), _ = in_threads(both, clean_up)
    rows = {row.download_key: row.collection_id for row in Download.objects.all()}
    assert set(rows) == {*first, *second}
    collections = set(DownloadCollection.objects.values_list("pk", flat=True))
    assert set(rows.values()) <= collections
    assert sum(removals)
