"""The content of a download, and its numbers of rows."""

import gc
import io
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any, ClassVar

import pytest
from django.db import connection, transaction
from django.db.models import Count, F, QuerySet
from django.test import Client

from async_downloads import cache, store
from async_downloads.building import content
from async_downloads.db_csv import output
from async_downloads.files import storage
from async_downloads.models import Download
from async_downloads.shortcuts import queryset_to_csv
from async_downloads.signals import download_changed
from tests.factories import CustomerFactory, DownloadFactory, OrderFactory
from tests.shop.models import Customer, Order

LIST = "/async_downloads/list/"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def key(user: Any) -> str:
    return DownloadFactory(collection__user=user, name="Orders").download_key


def built_text() -> str:
    with storage.storage().open(Download.objects.get().filepath) as file:
        return bytes(file.read()).decode()


def counts() -> tuple[int | None, int | None]:
    return Download.objects.values_list("rows_written", "rows_expected").get()


def three_rows() -> Iterator[list[int]]:
    yield from ([1], [2], [3])


def test_a_header_comes_first_and_is_not_counted(key: str) -> None:
    cache.save_download(key, three_rows(), header=["number"])
    assert built_text() == "number\n1\n2\n3\n"
    assert counts() == (3, None)


def test_a_header_counts_towards_the_limit_of_rows(key: str, settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_MAX_ROWS = 3
    cache.save_download(key, three_rows(), header=["number"])
    assert "the limit of 3 rows" in Download.objects.get().errors


@pytest.mark.parametrize("expected", [5, lambda: 5])
def test_a_file_with_fewer_rows_than_expected_is_truncated(key: str, expected: Any) -> None:
    cache.save_download(key, three_rows(), expected_rows=expected)
    download = Download.objects.get()
    assert (download.complete, download.truncated) == (True, True)
    assert download.status_text == "Truncated: 3 of 5 rows"


def test_the_list_shows_that_a_file_is_truncated(key: str, signed_in: Client) -> None:
    cache.save_download(key, three_rows(), expected_rows=5)
    assert "Truncated: 3 of 5 rows" in signed_in.get(LIST).text


def test_as_many_rows_as_were_expected_are_complete(key: str, signed_in: Client) -> None:
    cache.save_download(key, three_rows(), expected_rows=3)
    assert Download.objects.get().status_text == "Complete"
    assert "3 rows" in signed_in.get(LIST).text


def test_more_rows_than_were_expected_are_complete_too(key: str) -> None:
    cache.save_download(key, three_rows(), expected_rows=2)
    assert Download.objects.get().status_text == "Complete"


def test_an_iterable_with_a_length_is_counted(key: str) -> None:
    cache.save_download(key, [[1], [2]])
    assert counts() == (2, 2)


@pytest.mark.parametrize("made_by", ["rows", "database"])
def test_a_queryset_is_counted_and_reports_progress_by_itself(
    key: str, settings: Any, monkeypatch: pytest.MonkeyPatch, made_by: str
) -> None:
    if made_by == "rows":
        # Only code that reads the rows can stop at a limit.
        settings.ASYNC_DOWNLOADS_MAX_ROWS = 1000
    monkeypatch.setattr(content, "PROGRESS_AFTER", 0.0)
    monkeypatch.setattr(output, "BLOCK_ROWS", 2)
    monkeypatch.setattr(output, "FETCH_ROWS", 2)
    OrderFactory.create_batch(20, customer=CustomerFactory())
    steps: list[int] = []

    def listen(change: str, **_: Any) -> None:
        if change == "progressed":
            steps.append(Download.objects.get(pk=key).percentage)

    download_changed.connect(listen)
    try:
        cache.save_download(key, Order.objects.order_by("pk").values_list("reference"))
    finally:
        download_changed.disconnect(listen)
    assert counts() == (20, 20)
    assert built_text().splitlines() == list(
        Order.objects.order_by("pk").values_list("reference", flat=True)
    )
    assert steps == list(range(10, 101, 10))


def test_a_queryset_is_not_held_in_memory(key: str) -> None:
    OrderFactory.create_batch(3, customer=CustomerFactory())
    queryset = Order.objects.values_list("reference")
    cache.save_download(key, queryset)
    assert queryset._result_cache is None


def test_a_queryset_is_counted_without_the_header(key: str) -> None:
    OrderFactory.create_batch(3, customer=CustomerFactory())
    queryset_to_csv(key, ["reference"], Order.objects.all(), lambda order: [order.reference])
    assert counts() == (3, 3)


@pytest.mark.parametrize("named", [False, True])
def test_the_columns_that_sort_a_union_are_not_written(key: str, named: bool) -> None:
    orders = OrderFactory.create_batch(3)
    union = Order.objects.all().union(Order.objects.filter(total__lt=-1))
    rows = union.order_by("pk").values_list("reference", named=named)
    cache.save_download(key, rows, header=["reference"])
    assert built_text().split() == ["reference", *(order.reference for order in orders)]


def test_a_count_that_fails_fails_the_download(key: str) -> None:
    def count() -> int:
        raise RuntimeError("no such table")

    cache.save_download(key, three_rows(), expected_rows=count)
    assert Download.objects.get().failed


def test_without_a_percentage_the_rows_so_far_are_shown(
    key: str, hasty: None, signed_in: Client
) -> None:
    seen: list[int | None] = []

    def rows() -> Iterator[list[int]]:
        for number in range(3):
            yield [number]
            seen.append(counts()[0])
            assert number == 0 or f"{number} row" in signed_in.get(LIST).text

    cache.save_download(key, rows())
    # A row is counted when the next one has been made.
    assert seen == [0, 1, 2]
    assert counts() == (3, None)


def test_a_retry_counts_anew(key: str) -> None:
    def fails() -> Iterator[list[int]]:
        yield [1]
        raise RuntimeError("half-way")

    cache.save_download(key, fails(), expected_rows=9)
    cache.save_download(key, three_rows())
    assert counts() == (3, None)


def test_a_file_has_no_rows(key: str) -> None:
    cache.save_download(key, file=io.BytesIO(b"bytes"))
    assert counts() == (None, None)
    assert built_text() == "bytes"


def test_an_encoding_that_does_not_exist_is_refused_before_anything_is_written(key: str) -> None:
    with pytest.raises(ValueError, match="no-such"):
        cache.save_download(key, three_rows(), encoding="no-such")
    assert Download.objects.get().state == "pending"


def test_a_file_that_replaces_failed_rows_has_no_row_counts(key: str) -> None:
    def fails() -> Iterator[list[int]]:
        yield [1]
        raise RuntimeError("half-way")

    run = store.claim(key)
    assert run is not None
    with run:
        cache.save_download(key, fails(), expected_rows=9)
        run.rows_written = 1
        cache.save_download(key, file=io.BytesIO(b"whole"))
    assert counts() == (None, None)
    assert Download.objects.get().status_text == "Complete"


class Uncountable(QuerySet):
    """A queryset whose count fails, as by a wrong statement of Django or by a time-out."""

    def count(self) -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT no_such_column")
        return super().count()


@pytest.mark.parametrize("inside", [False, True])
def test_rows_that_cannot_be_counted_are_exported(key: str, inside: bool, settings: Any) -> None:
    # With a limit on rows, the rows are read and counted first.
    settings.ASYNC_DOWNLOADS_MAX_ROWS = 100
    order = OrderFactory()
    with transaction.atomic() if inside else nullcontext():
        cache.save_download(key, Uncountable(Order).values_list("pk"))
    assert built_text() == f"{order.pk}\n"
    assert counts() == (1, None)


def test_rows_that_django_miscounts_are_exported(key: str) -> None:
    OrderFactory()
    numbered = Customer.objects.annotate(number=Count("orders"))
    cache.save_download(
        key, numbered.annotate(twice=F("number") * 2).values_list("twice", "number")
    )
    assert built_text() == "2,1\n"


@pytest.mark.parametrize("expected", [-1, "5", 2.5])
@pytest.mark.parametrize("content", [{"iterable": [[1]]}, {"members": {"a.csv": [[1]]}}])
def test_invalid_expected_rows_are_refused_before_anything_is_written(
    key: str, content: dict[str, Any], expected: Any
) -> None:
    with pytest.raises((TypeError, ValueError), match="expected_rows must"):
        cache.save_download(key, expected_rows=expected, **content)
    assert Download.objects.get().state == "pending"
    rows_read: list[int] = []
    rows = ([row] for row in [1] if not rows_read.append(row))
    cache.save_download(key, rows, expected_rows=lambda: expected)
    assert Download.objects.get().failed
    assert not rows_read


class Reading(QuerySet):
    """A queryset that records when it is not read any more."""

    closed: ClassVar[list[bool]] = []

    def iterator(self, chunk_size: int | None = None) -> Iterator[Any]:
        try:
            yield from super().iterator(chunk_size)
        finally:
            self.closed.append(True)


def test_an_error_of_a_row_closes_the_cursor_at_once(key: str) -> None:
    OrderFactory.create_batch(2)
    Reading.closed.clear()
    gc.disable()
    try:
        queryset_to_csv(key, ["Reference"], Reading(Order).all(), lambda order: [1 / 0])
        assert Reading.closed == [True]
    finally:
        gc.enable()
    assert Download.objects.get().failed
