"""The common cases in one call."""

import inspect
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial, wraps
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection, transaction
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext
from django_q.conf import Conf

from async_downloads import cache
from async_downloads.exceptions import DownloadCancelled
from async_downloads.executors import django_q
from async_downloads.executors.threads import thread_task
from async_downloads.files import storage
from async_downloads.models import Download
from async_downloads.shortcuts import (
    download_task,
    enqueue_download,
    init_generic_csv_download,
    queryset_to_csv,
    start_download,
    start_downloads,
)
from async_downloads.signals import download_changed
from tests import jobs, queues
from tests.factories import CustomerFactory, DownloadFactory, OrderFactory
from tests.shop.models import Customer, Order

ORDER_HEADER = ["Reference", "Customer", "Total"]


@pytest.fixture(autouse=True)
def remembered() -> Iterator[None]:
    yield from jobs.forget()


@pytest.fixture
def key(db: None) -> str:
    return DownloadFactory().download_key


def order_row(order: Order) -> list[Any]:
    return [order.reference, order.customer.name, order.total]


def customer_row(customer: Customer) -> list[Any]:
    # all() of prefetched objects makes no query.
    return [customer.name, *(order.reference for order in customer.orders.all())]


def content(key: str) -> str:
    with storage.storage().open(Download.objects.get(pk=key).filepath) as stored:
        text: str = stored.read().decode()
    return text


def get(key: str) -> Download:
    return Download.objects.get(pk=key)


def orders() -> "QuerySet[Order]":
    return Order.objects.select_related("customer").order_by("pk")


# queryset_to_csv


def test_the_header_comes_first_and_a_row_for_each_object_after(key: str) -> None:
    customer = CustomerFactory(name='Ada "the first"')
    OrderFactory(reference="R1", customer=customer, total="1.50")
    OrderFactory(reference="R2", customer=customer, total="20")
    queryset_to_csv(key, ORDER_HEADER, orders(), order_row)
    quoted = '"Ada ""the first"""'
    assert content(key) == f"Reference,Customer,Total\nR1,{quoted},1.50\nR2,{quoted},20.00\n"
    assert get(key).complete


def test_the_queryset_keeps_its_filters_and_its_order(key: str) -> None:
    for reference in ("b", "a", "c", "x"):
        OrderFactory(reference=reference)
    queryset = Order.objects.exclude(reference="x").order_by("-reference")
    queryset_to_csv(key, ["r"], queryset, lambda order: [order.reference])
    assert content(key) == "r\nc\nb\na\n"


def test_a_slice_of_a_queryset_is_a_queryset(key: str) -> None:
    OrderFactory.create_batch(5)
    queryset_to_csv(key, ["r"], orders()[1:3], lambda order: [order.pk])
    assert content(key).count("\n") == 3


def test_a_queryset_of_values_passes_them_to_the_function(key: str) -> None:
    OrderFactory(reference="R1")
    values: Any = Order.objects.values_list("reference", "total")
    queryset_to_csv(key, ["r", "t"], values, lambda row: row)
    assert content(key) == "r,t\nR1,19.90\n"


def test_an_empty_queryset_makes_a_file_with_only_a_header(key: str) -> None:
    queryset_to_csv(key, ORDER_HEADER, orders(), order_row)
    assert content(key) == "Reference,Customer,Total\n"
    assert get(key).complete
    assert get(key).percentage == 100


def test_none_of_a_manager_is_a_queryset(key: str) -> None:
    queryset_to_csv(key, ["r"], Order.objects.none(), order_row)
    assert content(key) == "r\n"


def test_the_cells_may_come_from_iterators(key: str) -> None:
    OrderFactory(reference="R1")
    queryset_to_csv(key, iter(["r"]), orders(), lambda order: (order.reference for _ in range(2)))
    assert content(key) == "r\nR1,R1\n"


def queries_for(key: str, queryset: Any, row: Any) -> int:
    with CaptureQueriesContext(
        connection,
    ) as captured:
        queryset_to_csv(key, ["head"], queryset, row)
    assert get(key).complete
    # The statements that open a server-side cursor are not counted.
    return len([query for query in captured if "SELECT" in query["sql"].upper()])


def test_the_number_of_queries_does_not_grow_with_the_rows(db: None) -> None:
    OrderFactory.create_batch(10)
    few = queries_for(DownloadFactory().download_key, orders(), order_row)
    OrderFactory.create_batch(190)
    many = queries_for(DownloadFactory().download_key, orders(), order_row)
    assert many <= few


def test_prefetched_objects_are_not_fetched_again(db: None) -> None:
    customers = Customer.objects.prefetch_related("orders").order_by("pk")
    for _ in range(10):
        OrderFactory.create_batch(2, customer=CustomerFactory())
    few = queries_for(DownloadFactory().download_key, customers, customer_row)
    for _ in range(90):
        OrderFactory.create_batch(2, customer=CustomerFactory())
    key = DownloadFactory().download_key
    many = queries_for(key, customers, customer_row)
    assert many <= few
    first = customers[0]
    assert content(key).split("\n")[1] == ",".join(str(cell) for cell in customer_row(first))


def test_prefetches_are_kept_from_one_chunk_to_the_next(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("async_downloads.building.content.CHUNK_SIZE", 3)
    for _ in range(8):
        OrderFactory.create_batch(2, customer=CustomerFactory())
    customers = Customer.objects.prefetch_related("orders").order_by("pk")
    expected = [",".join(customer_row(customer)) for customer in customers]
    with CaptureQueriesContext(connection) as captured:
        queryset_to_csv(key, ["c"], customers.all(), customer_row)
    assert content(key).splitlines()[1:] == expected
    assert len([query for query in captured if " IN (" in query["sql"]]) >= 3


def test_the_queryset_is_not_held_in_memory(key: str) -> None:
    OrderFactory.create_batch(5)
    queryset = orders()
    queryset_to_csv(key, ["r"], queryset, order_row)
    assert queryset._result_cache is None


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("count", [3, 10, 57, 200])
def test_progress_is_recorded_as_the_rows_are_made(key: str, count: int) -> None:
    seen = [0]
    OrderFactory.create_batch(count)

    def row(order: Order) -> list[Any]:
        seen.append(get(key).percentage)
        return [order.pk]

    queryset_to_csv(key, ["r"], orders(), row)
    assert seen == sorted(seen)
    assert len(set(seen)) == min(count, 10)
    assert seen[-1] >= 60
    assert get(key).percentage == 100


@pytest.mark.django_db(transaction=True)
def test_a_step_is_published_once(key: str) -> None:
    changes: list[str] = []

    def listen(change: str, **_: Any) -> None:
        changes.append(change)

    download_changed.connect(listen)
    try:
        OrderFactory.create_batch(100)
        queryset_to_csv(key, ["r"], orders(), order_row)
    finally:
        download_changed.disconnect(listen)
    assert changes.count("progressed") <= 10
    assert changes[0] == "started"
    assert changes[-1] == "completed"


@pytest.mark.parametrize("wrong", [[], None, Order, Order.objects, "orders", iter(())])
def test_another_object_than_a_queryset_is_a_value_error(key: str, wrong: Any) -> None:
    with pytest.raises(ValueError, match="must be a QuerySet"):
        queryset_to_csv(key, ["r"], wrong, order_row)
    # No attempt was begun.
    assert get(key).attempts == 0


def test_a_row_function_that_fails_fails_the_download(
    key: str, caplog: pytest.LogCaptureFixture
) -> None:
    OrderFactory()
    queryset_to_csv(key, ["r"], orders(), lambda order: order.no_such_field)
    assert get(key).failed
    assert "no_such_field" in get(key).error_detail
    assert "no_such_field" not in get(key).errors
    assert "no_such_field" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_clearing_it_stops_the_export_at_the_next_step(key: str) -> None:
    OrderFactory.create_batch(100)
    made = []

    def row(order: Order) -> list[Any]:
        made.append(order.pk)
        Download.objects.all().delete()
        return [order.pk]

    with pytest.raises(DownloadCancelled):
        queryset_to_csv(key, ["r"], orders(), row)
    assert len(made) <= 10


def test_an_unknown_key_reads_nothing(db: None, django_assert_max_num_queries: Any) -> None:
    OrderFactory()
    with django_assert_max_num_queries(1000) as captured:
        queryset_to_csv("0b6a1f2e-7c59-4f0a-9b1d-3f6f0a1c2d3e", ["r"], orders(), order_row)
    assert not any("shop_order" in query["sql"] for query in captured.captured_queries)


# init_generic_csv_download


@pytest.mark.django_db(transaction=True)
def test_both_keys_are_returned_and_the_task_gets_the_download_key(user: Any) -> None:
    collection_key, key = init_generic_csv_download(
        "tests.jobs.remember", user, "Orders", 1, "two", period="2026"
    )
    assert collection_key == cache.get_collection_key(user)
    assert get(key).collection.user == user
    queues.run_waiting()
    assert jobs.calls == [((key, 1, "two"), {"period": "2026"})]


@pytest.mark.django_db
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
@pytest.mark.parametrize("use_tz", [True, False])
def test_the_names_carry_the_local_time(settings: Any, zone: str, use_tz: bool) -> None:
    settings.TIME_ZONE, settings.USE_TZ = zone, use_tz
    # Without USE_TZ, Django sets the time zone of the process to TIME_ZONE.
    before = datetime.now(ZoneInfo(zone))
    _, key = init_generic_csv_download(jobs.Backend(), "team", "Open orders now")
    after = before + timedelta(minutes=1)
    assert get(key).filename in {
        f"Open_orders_now_{moment:%Y-%m-%d_%H-%M}.csv" for moment in (before, after)
    }
    assert get(key).name in {f"Open orders now {moment:%Y-%m-%d}" for moment in (before, after)}


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "x\x00\n\u202e", "名前", "x" * 400])
def test_any_name_makes_a_safe_path(name: str) -> None:
    _, key = init_generic_csv_download(jobs.Backend(), "team", name)
    assert get(key).filepath.rpartition("/")[0] == f"downloads/{key}"


@pytest.mark.django_db(transaction=True)
def test_the_task_is_queued_only_after_the_commit(user: Any) -> None:
    task = jobs.Backend()
    with transaction.atomic():
        _, key = init_generic_csv_download(task, user, "Orders")
        _, other_key = init_generic_csv_download("tests.jobs.remember", user, "Orders")
        assert task.enqueued == []
        assert queues.waiting() == []
    assert task.enqueued == [((key,), {})]
    queues.run_waiting()
    assert jobs.calls == [((other_key,), {})]


@pytest.mark.django_db(transaction=True)
def test_without_a_transaction_the_task_is_queued_at_once(user: Any) -> None:
    task = jobs.Backend()
    _, key = init_generic_csv_download(task, user, "Orders")
    assert task.enqueued == [((key,), {})]


@pytest.mark.django_db(transaction=True)
def test_nothing_is_queued_and_nothing_is_left_if_the_transaction_is_rolled_back(
    user: Any,
) -> None:
    task = jobs.Backend()

    def view() -> None:
        with transaction.atomic():
            init_generic_csv_download(task, user, "Orders")
            init_generic_csv_download("tests.jobs.remember", user, "Orders")
            raise RuntimeError("the view failed")

    with pytest.raises(RuntimeError):
        view()
    assert task.enqueued == []
    assert queues.waiting() == []
    assert not Download.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "queue",
    [
        "backend",
        pytest.param("celery", marks=pytest.mark.any_database),
        pytest.param("django-q2", marks=pytest.mark.any_database),
    ],
)
def test_a_queue_that_cannot_be_reached_fails_the_download_and_not_the_view(
    user: Any, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = {"backend": jobs.DeadBackend(), "celery": jobs.celery_remember_dead}
    if queue == "django-q2":
        # A port on which nothing listens.
        monkeypatch.setattr(Conf, "ORM", None)
        monkeypatch.setattr(Conf, "REDIS", {"host": "127.0.0.1", "port": 1})
    with transaction.atomic():
        task: Any = tasks.get(queue, "tests.jobs.remember")
        _, key = init_generic_csv_download(task, user, "Orders")
    download = get(key)
    assert download.failed
    assert download.errors == "The download could not be queued. Please request it again later."
    # Staff see the traceback.
    assert download.error_detail.startswith("Traceback")
    assert "DownloadError" not in download.error_detail


@pytest.mark.django_db(transaction=True)
def test_a_queue_that_fails_is_logged_with_the_reason(
    user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    # Without a transaction of the caller.
    _, key = init_generic_csv_download(jobs.DeadBackend(), user, "Orders")
    assert get(key).failed
    assert "no route to" in caplog.text


@pytest.mark.parametrize("owner", [None, "", True])
def test_an_invalid_owner_is_an_error_and_nothing_is_queued(db: None, owner: Any) -> None:
    task = jobs.Backend()
    with pytest.raises((TypeError, ValueError)):
        init_generic_csv_download(task, owner, "Orders")
    assert task.enqueued == []


# download_task


@pytest.mark.django_db(transaction=True)
class TestDownloadTask:
    def test_a_save_in_the_function_is_one_attempt(self) -> None:
        download = DownloadFactory()

        @download_task
        def export(download_key: str, *rows: list[int]) -> None:
            cache.save_download(download_key, rows)

        export(download.download_key, [1], [2])
        download.refresh_from_db()
        assert (download.state, download.attempts, download.size) == ("complete", 1, 4)

    def test_any_end_without_a_file_is_a_failure(self) -> None:
        download = DownloadFactory()

        @download_task
        def export(download_key: str) -> None:
            """Do nothing."""

        export(download.download_key)
        assert Download.objects.get().failed

    def test_it_keeps_its_name_and_its_signature(self) -> None:
        assert download_task(jobs.export).__name__ == "export"
        assert inspect.signature(download_task(jobs.export)) == inspect.signature(jobs.export)

    @pytest.mark.parametrize("by", ["name", "position", "after self"])
    def test_it_finds_the_key(self, by: str) -> None:
        key = DownloadFactory().download_key

        @download_task
        def first(which: str, period: str) -> None:
            cache.save_download(which, [[period]])

        @download_task
        def bound(self: object, download_key: str) -> None:
            cache.save_download(download_key, [["bound"]])

        calls: dict[str, Callable[[], None]] = {
            "name": lambda: first(period="May", which=key),
            "position": lambda: first(key, "May"),
            "after self": lambda: bound(object(), key),
        }
        calls[by]()
        assert Download.objects.get().complete

    @pytest.mark.parametrize("how", ["any", "any names", "one is added"])
    def test_it_finds_the_key_without_a_signature_that_fits(self, how: str) -> None:
        key = DownloadFactory().download_key

        def with_session(function: Any) -> Any:
            return wraps(function)(partial(function, session="s"))

        def save(download_key: str, *, session: str) -> None:
            cache.save_download(download_key, [[session]])

        tasks: dict[str, Callable[[], None]] = {
            "any": lambda: download_task(lambda *args: save(*args, session="s"))(key),
            "any names": lambda: download_task(lambda **names: save(**names, session="s"))(
                download_key=key
            ),
            "one is added": lambda: download_task(with_session(save))(key),
        }
        tasks[how]()
        assert content(key) == "s\n"

    @pytest.mark.parametrize("arguments", [(), (1, 2)], ids=["too few", "too many"])
    def test_arguments_that_do_not_fit_fail_the_download(self, arguments: Any) -> None:
        key = DownloadFactory().download_key

        def export(download_key: str, year: int) -> None:
            cache.save_download(download_key, [[year]])

        task: Any = download_task(export)
        with pytest.raises(TypeError, match="argument"):
            task(key, *arguments)
        assert get(key).failed
        assert "TypeError" in get(key).error_detail

    def test_without_a_key_it_raises(self) -> None:
        task: Any = download_task(jobs.export)
        with pytest.raises(TypeError, match="download key"):
            task()

    def test_django_q_runs_it_as_one_attempt(self, user: Any) -> None:
        init_generic_csv_download("tests.jobs.decorated", user, "Orders")
        queues.run_waiting()
        assert [(row.state, row.attempts) for row in Download.objects.all()] == [("complete", 1)]

    def test_celery_runs_it_below_its_own_decorator(self) -> None:
        key = DownloadFactory().download_key
        jobs.celery_decorated.apply(args=[key], throw=True)
        assert Download.objects.get().complete

    @pytest.mark.parametrize(
        "function",
        [jobs.async_generator, jobs.generator, lambda: None],
        ids=["yields async", "yields", "none"],
    )
    def test_a_function_that_cannot_be_a_task_is_refused_at_once(self, function: Any) -> None:
        with pytest.raises(TypeError):
            download_task(function)


# enqueue_download


@pytest.mark.django_db(transaction=True)
class TestEnqueueDownload:
    def test_it_is_queued_once_the_record_is_committed(self, user: Any) -> None:
        with transaction.atomic():
            _, key = cache.init_download(user, "report.txt")
            enqueue_download(jobs.export, key, [1])
            assert queues.waiting() == []
        queues.run_waiting()
        assert Download.objects.get().complete
        assert jobs.calls == [((key, [1]), {})]

    def test_nothing_is_queued_after_a_rollback(self, user: Any) -> None:
        with transaction.atomic():
            enqueue_download(jobs.export, cache.init_download(user, "report.txt")[1])
            transaction.set_rollback(True)
        assert queues.waiting() == []

    def test_a_queue_that_cannot_be_reached_is_an_error_for_the_owner(self, user: Any) -> None:
        enqueue_download(jobs.DeadBackend(), cache.init_download(user, "report.txt")[1])
        download = Download.objects.get()
        assert download.failed
        assert "could not be queued" in download.errors

    def test_another_object_than_a_task_is_refused_before_anything_is_queued(
        self, user: Any
    ) -> None:
        with pytest.raises(TypeError):
            enqueue_download(5, cache.init_download(user, "report.txt")[1])


# start_download


@pytest.mark.django_db(transaction=True)
class TestStartDownload:
    @pytest.mark.parametrize(
        ("task", "path"),
        [
            (jobs.remember, "tests.jobs.remember"),
            ("tests.jobs.remember", "tests.jobs.remember"),
            (jobs.celery_remember, "tests.jobs.celery_remember"),
            ("tests.jobs.celery_remember", "tests.jobs.celery_remember"),
            (jobs.in_thread, "tests.jobs.in_thread"),
            (jobs.Backend(), ""),
        ],
        ids=["function", "path", "Celery", "path for Celery", "thread", "own queue"],
    )
    def test_each_kind_of_task_is_queued_and_recorded(
        self, user: Any, task: Any, path: str
    ) -> None:
        names = ("orders 2026.xlsx", "Orders")
        arguments: Any = {"args": [1], "kwargs": {"since": "2026"}}
        with jobs.eager_celery():
            collection_key, key = start_download(task, user, *names, **arguments)
        assert collection_key == cache.get_collection_key(user)
        download = get(key)
        assert (download.name, download.filename) == ("Orders", "orders 2026.xlsx")
        assert download.collection.user == user
        assert download.task == path
        queues.run_waiting()
        for thread in jobs.running_threads(key):
            thread.join()
        assert jobs.calls + jobs.Backend.enqueued == [((key, 1), {"since": "2026"})]

    def test_the_name_in_the_list_is_the_file_name_if_left_out(self, user: Any) -> None:
        _, key = start_download(jobs.export, user, "orders.csv")
        assert (get(key).name, get(key).arguments) == ("orders.csv", "[[], {}]")

    def test_the_task_is_queued_only_after_the_commit(self, user: Any) -> None:
        with transaction.atomic():
            _, key = start_download(jobs.export, user, "orders.csv")
            assert queues.waiting() == []
        assert [task["args"][1] for task in queues.waiting()] == [key]

    def test_a_join_returns_the_same_keys(self, user: Any, other_user: Any) -> None:
        first = start_download(jobs.export, user, "a.csv", args=[1], join=True)
        assert start_download(jobs.export, user, "b.csv", args=[1], join=True) == first
        assert start_download(jobs.export, user, "b.csv", args=[2], join=True) != first
        assert start_download(jobs.export, other_user, "a.csv", args=[1], join=True) != first
        assert start_download(jobs.export, user, "a.csv", args=[1]) != first

    def test_a_complete_one_is_joined_if_it_is_fresh(self, user: Any) -> None:
        first = start_download(jobs.export, user, "a.csv", join=True)
        queues.run_waiting()
        assert start_download(jobs.export, user, "a.csv", join=True, fresh_for=60) == first
        assert start_download(jobs.export, user, "a.csv", join=True) != first

    def test_fresh_for_without_join_is_refused(self, user: Any) -> None:
        with pytest.raises(ValueError, match="join=True"):
            start_download(jobs.export, user, "a.csv", fresh_for=60)
        assert not Download.objects.exists()

    def test_a_queue_that_cannot_be_reached_is_an_error_for_the_owner(self, user: Any) -> None:
        _, key = start_download(jobs.celery_remember_dead, user, "orders.csv")
        assert get(key).failed
        assert get(key).retryable
        assert "could not be queued" in get(key).errors

    @pytest.mark.parametrize(
        ("arguments", "error"),
        [
            ((5, "ada", "a.csv"), TypeError),
            ((jobs.export, None, "a.csv"), (TypeError, ValueError)),
            ((jobs.export, "ada", ""), ValueError),
            ((jobs.export, "ada", 5), TypeError),
            (("no.such.task", "ada", "a.csv"), ImportError),
        ],
        ids=["task", "user", "no name", "name", "path"],
    )
    def test_wrong_arguments_are_refused_and_nothing_is_written(
        self, arguments: Any, error: Any
    ) -> None:
        with pytest.raises(error):
            start_download(*arguments)
        assert not Download.objects.exists()
        assert queues.waiting() == []

    @pytest.mark.parametrize("args", ["May", b"May", {"month": 5}, 5], ids=repr)
    def test_args_that_are_no_list_are_refused(self, user: Any, args: Any) -> None:
        with pytest.raises(TypeError, match="args must be an iterable of arguments"):
            start_download(jobs.export, user, "a.csv", args=args)
        with pytest.raises(TypeError, match="args must be an iterable of arguments"):
            start_downloads(jobs.export, [user], "a.csv", args=args)
        assert not Download.objects.exists()

    @pytest.mark.parametrize(
        ("seconds", "error"),
        [
            (timedelta(hours=1), TypeError),
            ("60", TypeError),
            (True, TypeError),
            (-1, ValueError),
            (float("nan"), ValueError),
            (float("inf"), ValueError),
        ],
        ids=repr,
    )
    def test_a_wrong_fresh_for_is_refused(self, user: Any, seconds: Any, error: Any) -> None:
        with pytest.raises(error, match="fresh_for"):
            start_download(jobs.export, user, "a.csv", join=True, fresh_for=seconds)
        with pytest.raises(error, match="fresh_for"):
            start_downloads(jobs.export, [user], "a.csv", fresh_for=seconds)
        assert not Download.objects.exists()

    @pytest.mark.parametrize(
        "task",
        [
            jobs.fail,
            jobs.decorated,
            "tests.jobs.decorated",
            jobs.celery_fail,
            thread_task(jobs.fail),
        ],
        ids=["function", "download_task", "path", "Celery", "thread"],
    )
    def test_arguments_that_do_not_fit_are_refused(self, user: Any, task: Any) -> None:
        with pytest.raises(TypeError, match="argument"):
            start_download(task, user, "a.csv", args=["too many"])
        with pytest.raises(TypeError, match="argument"):
            start_download(task, user, "a.csv", kwargs={"month": 5})
        assert not Download.objects.exists()

    @pytest.mark.parametrize(
        "task",
        [jobs.with_session, jobs.with_session_inside, jobs.with_signature],
        ids=["on top", "below", "with a signature"],
    )
    def test_a_decorator_may_add_arguments(self, user: Any, task: Any) -> None:
        start_download(task, user, "a.csv")
        queues.run_waiting()
        assert Download.objects.get().complete

    def test_it_costs_no_more_than_the_older_functions(self, user: Any) -> None:
        def count(start: Callable[[], object]) -> int:
            start()
            with CaptureQueriesContext(connection) as captured:
                start()
            return len(captured)

        def older() -> None:
            enqueue_download(jobs.Backend(), cache.init_download(user, "a.csv")[1])

        newer = count(lambda: start_download(jobs.export, user, "a.csv"))
        queueing = count(lambda: queue_alone("tests.jobs.export"))
        assert newer - queueing <= count(older)


def queue_alone(path: str) -> None:
    """Queue a task without a download."""
    django_q.enqueue(path, "no key")
