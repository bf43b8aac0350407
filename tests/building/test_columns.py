"""Headings and labels by the fields of a queryset."""

import io
import zipfile
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from asgiref.sync import async_to_sync
from django.db import models
from django.db.models import Count, F
from django.db.models.functions import ExtractYear, Upper
from django.utils import translation

from async_downloads import cache, db_csv
from async_downloads.building.columns import SelectedColumns
from async_downloads.building.content import Table
from async_downloads.files import storage
from async_downloads.formats import Options, Rows
from async_downloads.models import Download, DownloadState
from tests.factories import DownloadFactory
from tests.shop.models import Customer, Order, Specimen

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def key(user: Any) -> str:
    return DownloadFactory(collection__user=user, name="Orders").download_key


def built_text() -> str:
    download = Download.objects.latest("timestamp")
    assert download.complete, download.error_detail
    with storage.storage().open(download.filepath) as file:
        return bytes(file.read()).decode()


def headings(queryset: Any) -> list[str]:
    columns = SelectedColumns.of(queryset)
    assert columns is not None
    return columns.headings


@pytest.mark.parametrize(
    ("queryset", "found"),
    [
        (lambda: Order.objects.values_list("reference", "total"), ["Reference", "Total"]),
        (lambda: Order.objects.values("total", "reference"), ["Total", "Reference"]),
        (lambda: Order.objects.values_list("total", flat=True), ["Total"]),
        (lambda: Order.objects.values_list("pk", "total", named=True), ["ID", "Total"]),
        (
            lambda: Order.objects.values_list(),
            ["ID", "Customer", "Reference", "Total", "Status"],
        ),
        (lambda: Order.objects.values_list("customer_id", "customer"), ["Customer"] * 2),
        (lambda: Order.objects.values_list("customer__name"), ["Customer name"]),
        (
            lambda: Customer.objects.values_list("name", "orders__total", "orders"),
            ["Name", "Order total", "Order"],
        ),
        (
            lambda: Order.objects.annotate(loud_name=Upper("reference")).values_list(
                "loud_name", "reference"
            ),
            ["Loud name", "Reference"],
        ),
        (
            lambda: Customer.objects.annotate(Count("orders")).values_list("orders__count", "name"),
            [
                "Orders count",
                "Name",
            ],
        ),
        (
            lambda: Specimen.objects.values_list("day__year", "data__a__b"),
            [
                "Day year",
                "Data a b",
            ],
        ),
        (lambda: Order.objects.values_list(Upper("reference")), ["Upper1"]),
        (
            lambda: Order.objects.values_list("reference").union(
                Customer.objects.values_list("name")
            ),
            ["Reference"],
        ),
        (lambda: Order.objects.none().values_list("total"), ["Total"]),
        (
            lambda: Order.objects.extra(select={"one": "1"}).values_list("total", "one"),
            [
                "Total",
                "One",
            ],
        ),
    ],
)
def test_a_heading_is_the_verbose_name(queryset: Any, found: list[str]) -> None:
    assert headings(queryset()) == found


def test_headings_are_in_the_active_language() -> None:
    queryset = Download.objects.values_list("percentage", "collection__user__username")
    assert headings(queryset) == ["Progress", "Collection user username"]
    with translation.override("de"):
        assert headings(queryset) == ["Fortschritt", "Sammlung Benutzer Benutzername"]


@pytest.mark.parametrize(
    "rows",
    [lambda: [[1]], Order.objects.all],
    ids=["list", "objects"],
)
@pytest.mark.parametrize("wanted", [{"header": "verbose"}, {"labels": True}])
def test_other_rows_have_neither_headings_nor_labels(key: str, rows: Any, wanted: Any) -> None:
    with pytest.raises(ValueError, match=r"needs the rows of a values\(\) or values_list\(\)"):
        cache.save_download(key, rows(), **wanted)
    assert Download.objects.get().state == DownloadState.PENDING


def test_a_row_function_has_no_verbose_names() -> None:
    with pytest.raises(ValueError, match="header='verbose' needs"):
        Table(Order.objects.values(), header="verbose", row_function=list)


def test_another_text_is_still_not_a_header(key: str) -> None:
    with pytest.raises(TypeError, match="header='Verbose' is a str"):
        cache.save_download(key, Order.objects.values_list("pk"), header="Verbose")  # type: ignore[arg-type]


def specimens() -> Any:
    Specimen.objects.create(choice="a", short="x")
    Specimen.objects.create(choice="b", short="y")
    Specimen.objects.create(choice="c", short="z")
    return Specimen.objects.order_by("pk")


@pytest.mark.parametrize("by_rows", [False, True])
@pytest.mark.parametrize(
    ("queryset", "text"),
    [
        (lambda rows: rows.values_list("choice", "short"), "Apple,x\nPear,y\nc,z\n"),
        (lambda rows: rows.values("short", "choice"), "x,Apple\ny,Pear\nz,c\n"),
        (lambda rows: rows.values_list("choice", flat=True), "Apple\nPear\nc\n"),
        (lambda rows: rows.values_list("choice", "short", named=True), "Apple,x\nPear,y\nc,z\n"),
        (
            lambda rows: rows.annotate(fruit=F("choice")).values_list("fruit", "short"),
            "Apple,x\nPear,y\nc,z\n",
        ),
        # The result of a function is not one of the choices.
        (lambda rows: rows.values_list(Upper("choice")), "A\nB\nC\n"),
        (lambda rows: rows.values_list("short"), "x\ny\nz\n"),
    ],
)
def test_choices_are_written_as_their_labels(
    key: str, settings: Any, queryset: Any, text: str, by_rows: bool
) -> None:
    if by_rows:
        settings.ASYNC_DOWNLOADS_MAX_ROWS = 1000
    cache.save_download(key, queryset(specimens()), labels=True)
    assert built_text() == text


def test_the_database_writes_labels() -> None:
    queryset = specimens().values_list("choice")
    write = db_csv.writer_for(queryset, labels=SelectedColumns(queryset).labels)
    assert write is not None


def test_labels_and_headings_are_those_of_the_active_language(key: str) -> None:
    queryset = Download.objects.values_list("state")
    with translation.override("de"):
        cache.save_download(key, queryset, header="verbose", labels=True, format="csv")
        label = str(DownloadState.RUNNING.label)
        heading = headings(queryset)[0]
    assert built_text() == f"{heading}\n{label}\n"
    assert label != str(DownloadState.RUNNING.label)


def test_the_rows_of_a_union_have_no_labels(key: str) -> None:
    first = specimens().order_by().values_list("choice")
    second = Specimen.objects.filter(short="x").order_by().values_list("short")
    cache.save_download(key, first.union(second).order_by("choice"), labels=True)
    assert built_text() == "a\nb\nc\nx\n"


def test_labels_are_found_for_values_that_cannot_be_hashed() -> None:
    queryset = specimens().values_list("data", "short")
    rows = SelectedColumns(queryset).labelled([([1], "x"), ({"a": 1}, "y")], [{(1,): "One"}, None])
    assert list(rows) == [["One", "x"], [{"a": 1}, "y"]]


def test_a_member_of_an_archive_has_headings_and_labels(key: str) -> None:
    member = Rows(specimens().values_list("choice", "short"), header="verbose", labels=True)
    cache.save_download(key, members={"a.csv": member})
    with (
        storage.storage().open(Download.objects.get().filepath) as file,
        zipfile.ZipFile(io.BytesIO(file.read())) as archive,
    ):
        assert archive.read("a.csv") == b"Choice,Short\nApple,x\nPear,y\nc,z\n"


@pytest.mark.parametrize("wanted", [{"header": ["a"]}, {"labels": True}])
def test_an_archive_has_no_headings_or_labels_of_its_own(key: str, wanted: Any) -> None:
    with pytest.raises(ValueError, match=r"headers and labels by formats\.Rows"):
        cache.save_download(key, members={}, **wanted)


def test_a_field_is_known_if_its_values_are_certain_to_be_its_own() -> None:
    queryset = Order.objects.annotate(
        number=Count("pk"), sum=models.Sum("total"), half=F("total") / 2
    ).values_list("total", "customer", "customer__name", "number", "sum", "half")
    columns = SelectedColumns(queryset).columns()
    assert [column.name for column in columns] == [
        *("total", "customer", "customer__name", "number", "sum", "half")
    ]
    assert [type(column.field) for column in columns] == [
        *(models.DecimalField, models.BigAutoField, models.CharField, models.IntegerField),
        *(type(None), type(None)),
    ]


MOMENT = datetime(2026, 7, 1, 12, 0, 0, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        (None, "2026-07-01 12:00:00.000005+00:00"),
        ("UTC", "2026-07-01 12:00:00.000005+00:00"),
        ("Europe/Berlin", "2026-07-01 14:00:00.000005+02:00"),
    ],
)
@pytest.mark.parametrize("of", ["queryset", "rows"])
def test_times_are_written_in_the_time_zone_of_the_download(
    key: str, zone: str | None, text: str, of: str
) -> None:
    Specimen.objects.create(moment=MOMENT)
    rows: Any = Specimen.objects.values_list("moment", "choice")
    cache.save_download(key, rows if of == "queryset" else list(rows), time_zone=zone)
    assert built_text() == f"{text},a\n"


def test_a_time_without_a_zone_or_at_the_end_of_the_calendar_is_left(key: str) -> None:
    last = datetime.max.replace(tzinfo=UTC)
    naive = datetime(2026, 1, 31)  # noqa: DTZ001
    cache.save_download(key, [[last, naive, MOMENT]], time_zone="Asia/Tokyo")
    assert built_text() == f"{last},{naive},2026-07-01 21:00:00.000005+09:00\n"


@pytest.mark.parametrize("zone", ["Europe/Atlantis", "", "../etc"])
def test_an_unknown_time_zone_is_refused(key: str, zone: str) -> None:
    with pytest.raises(ValueError, match="is not a time zone, such as 'Europe/Berlin'"):
        cache.save_download(key, [[1]], time_zone=zone)


@pytest.mark.parametrize("zone", [5, b"UTC", timedelta(hours=1)], ids=repr)
def test_another_object_than_a_time_zone_is_refused(key: str, zone: Any) -> None:
    with pytest.raises(TypeError, match="time_zone must be a time zone or its name"):
        cache.save_download(key, [[1]], time_zone=zone)


def test_a_time_zone_costs_the_database_its_part_only_if_there_are_times(key: str) -> None:
    def by_database(queryset: Any, zone: Any) -> bool:
        table = Table(queryset, time_zone=zone)
        return table._may_skip_rows(Options(columns=SelectedColumns(queryset).columns()))

    berlin, utc = ZoneInfo("Europe/Berlin"), ZoneInfo("UTC")
    times = Specimen.objects.values_list("moment")
    computed = Specimen.objects.values_list(ExtractYear("moment"))
    assert [by_database(times, zone) for zone in (None, utc, berlin)] == [True, True, False]
    assert by_database(Specimen.objects.values_list("amount"), berlin)
    assert not by_database(computed, berlin)


def test_an_archive_has_the_time_zone_and_the_language_for_all_members(key: str) -> None:
    members = {"a.csv": [[MOMENT, 1.5]], "b.tsv": Rows([[MOMENT]], header=["at"])}
    with translation.override("de"):
        cache.save_download(key, members=members, time_zone="Europe/Berlin", localize=True)
    with (
        storage.storage().open(Download.objects.get().filepath) as file,
        zipfile.ZipFile(io.BytesIO(file.read())) as archive,
    ):
        assert archive.read("a.csv") == b'01.07.2026 14:00,"1,5"\n'
        assert archive.read("b.tsv") == b"at\n01.07.2026 14:00\n"


def test_async_code_has_the_same_arguments(key: str) -> None:
    queryset = specimens().values_list("choice", "moment")
    async_to_sync(cache.asave_download)(
        key, queryset, header="verbose", labels=True, time_zone="UTC", localize=True
    )
    assert built_text() == "Choice,Moment\nApple,\nPear,\nc,\n"


def test_a_file_has_no_labels(key: str) -> None:
    with pytest.raises(ValueError, match="stored as it is, without labels"):
        cache.save_download(key, file=io.BytesIO(b"a"), labels=True)


def test_a_localized_queryset_is_not_written_by_the_database(key: str) -> None:
    Specimen.objects.create(amount="1.50")
    with translation.override("de"):
        cache.save_download(key, Specimen.objects.values_list("amount"), localize=True)
    assert built_text() == '"1,50"\n'
