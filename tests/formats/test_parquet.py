"""Parquet, as its own library reads it."""

import io
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ImproperlyConfigured

from async_downloads import cache
from async_downloads.exceptions import DownloadError
from async_downloads.files import storage
from async_downloads.formats import Column, Options, parquet, registry
from async_downloads.models import Download
from tests.factories import DownloadFactory, OrderFactory
from tests.formats.streams import FullStream, OneWay
from tests.shop.models import Order, Specimen

pyarrow = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

MOMENT = datetime(2026, 1, 31, 18, 30, 0, 123456, tzinfo=UTC)
NAIVE = MOMENT.replace(tzinfo=None)


def written(rows: Iterable[Iterable[Any]], **options: Any) -> Any:
    stream = io.BytesIO()
    count = parquet.write(rows, stream, Options(**options))
    table = pq.read_table(io.BytesIO(stream.getvalue()))
    assert len(table) == count
    return table


def column(*cells: Any, **options: Any) -> tuple[str, list[Any]]:
    """Return the type and the values of a column."""
    table = written([[cell] for cell in cells], **options)
    return str(table.schema.types[0]), table.column(0).to_pylist()


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([1, None, -(2**63) + 1], "int64"),
        ([True, None, False], "bool"),
        ([0.1, float("inf"), 5e-324], "double"),
        ([0.5, 3], "double"),
        ([Decimal("19.90"), Decimal(-1), Decimal("1E+3")], "decimal128(38, 2)"),
        ([date(1, 1, 1), date.max], "date32[day]"),
        ([MOMENT, datetime.max.replace(tzinfo=UTC)], "timestamp[us, tz=UTC]"),
        ([NAIVE, datetime.min], "timestamp[us]"),  # noqa: DTZ901
        ([time.max, None], "time64[us]"),
        ([timedelta(days=-1, microseconds=1), timedelta(days=10**6)], "duration[us]"),
        ([b"\x00\xff", None], "binary"),
        (["Ada", "", None], "string"),
        ([None, None], "string"),
    ],
)
def test_a_column_has_the_type_of_its_values(cells: list[Any], kind: str) -> None:
    assert column(*cells) == (kind, cells)


@pytest.mark.parametrize(
    ("cells", "texts"),
    [
        ([1, "a"], ["1", "a"]),
        ([1, True], ["1", "True"]),
        ([2**63], [str(2**63)]),
        ([0.5, 2**60], ["0.5", str(2**60)]),
        ([Decimal("NaN")], ["NaN"]),
        ([Decimal("1E+38"), Decimal("0.1")], ["1E+38", "0.1"]),
        ([MOMENT, NAIVE], [str(MOMENT), str(NAIVE)]),
        ([MOMENT, MOMENT.date()], [str(MOMENT), "2026-01-31"]),
        ([time(9, tzinfo=UTC)], ["09:00:00+00:00"]),
        ([uuid.UUID(int=5)], [str(uuid.UUID(int=5))]),
        ([{"a": [1]}, [2]], ['{"a": [1]}', "[2]"]),
        (["a\ud800", b"Ada"], ["a\ufffd", "QWRh"]),
    ],
    ids=ascii,
)
def test_values_of_several_types_are_the_text_of_csv(cells: list[Any], texts: list[str]) -> None:
    assert column(*cells) == ("string", texts)


@pytest.mark.parametrize(
    ("cell", "later"),
    [
        (1, "a"),
        (1, 2**63),
        (1, True),
        (0.5, 2**60),
        (Decimal("0.1"), Decimal("0.12")),
        (date(2026, 1, 31), MOMENT),
        (MOMENT, NAIVE),
        (NAIVE, MOMENT),
        (time(9), time(9, tzinfo=UTC)),
        (b"a", "a"),
    ],
)
def test_a_later_value_that_does_not_fit_fails_the_file(
    monkeypatch: pytest.MonkeyPatch, cell: Any, later: Any
) -> None:
    monkeypatch.setattr(parquet, "CHUNK_ROWS", 1)
    with pytest.raises(DownloadError, match=r"^Row 4, column 2 \(b\): .* does not fit the type"):
        written([*[["x", cell]] * 3, ["x", later]], header=["a", "b"])
    # Text takes anything.
    assert written([["a"], [later]]).column(0)[1].as_py() == str(parquet._text(later))


@pytest.mark.parametrize(
    ("rows", "options", "names"),
    [
        ([[1, 2]], {"header": ["a", "a"]}, ["a", "a (2)"]),
        ([[1, 2]], {}, ["column_1", "column_2"]),
        ([{"b": 1, "a": 2}], {}, ["b", "a"]),
        ([[1, 2]], {"columns": [Column("x"), Column("y")]}, ["x", "y"]),
        ([], {"header": ["a", "b"]}, ["a", "b"]),
        ([], {}, []),
    ],
)
def test_columns_have_the_names_of_the_header_or_of_the_rows(
    rows: Any, options: Any, names: list[str]
) -> None:
    assert written(rows, **options).column_names == names


@pytest.mark.parametrize("row", [[1], [1, 2, 3]])
def test_a_row_with_another_number_of_cells_fails_the_file(row: list[int]) -> None:
    with pytest.raises(DownloadError, match=r"Row 2 has \d cells, while the header has 2"):
        written([[1, 2], row], header=["a", "b"])


def test_rows_are_written_in_groups_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "CHUNK_ROWS", 100)
    monkeypatch.setattr(parquet, "GROUP_ROWS", 200)
    stream = io.BytesIO()
    sizes = []

    def rows() -> Iterator[list[int]]:
        for number in range(1000):
            sizes.append(stream.tell())
            yield [number]

    assert parquet.write(rows(), stream, Options()) == 1000
    assert 0 < sizes[500] < sizes[-1]
    file = pq.ParquetFile(io.BytesIO(stream.getvalue()))
    assert file.num_row_groups > 2
    assert file.read().column(0).to_pylist() == list(range(1000))


def test_the_stream_need_not_be_seekable() -> None:
    stream = OneWay()
    assert parquet.write([[1]], stream, Options()) == 1
    assert pq.read_table(io.BytesIO(stream.getvalue())).to_pylist() == [{"column_1": 1}]


@pytest.mark.parametrize("room", [0, 10])
def test_the_error_of_a_stream_is_raised(room: int) -> None:
    error = DownloadError("too large")
    stream = FullStream(room, lambda: error)
    with pytest.raises(DownloadError) as raised:
        parquet.write([[1]], stream, Options())
    assert raised.value is error
    assert not stream.closed


def test_an_error_of_the_rows_is_passed_on() -> None:
    def rows() -> Iterator[list[int]]:
        yield [1]
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        written(rows())


def test_without_the_library_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("async_downloads.formats.base.find_spec", lambda name: None)
    assert "parquet" not in [each.name for each in registry.installed()]
    with pytest.raises(ImproperlyConfigured, match=r"django-async-downloads\[parquet\]"):
        registry.named("parquet")
    with pytest.raises(ImproperlyConfigured, match="needs pyarrow, which is not installed"):
        registry.for_filename("a.parquet")


def test_all_formats_are_installed_with_their_libraries() -> None:
    assert [each.name for each in registry.installed()] == list(registry._formats)


@pytest.fixture
def key(user: Any) -> str:
    return DownloadFactory(collection__user=user, filename="a.parquet").download_key


def saved() -> Any:
    download = Download.objects.get()
    assert download.complete, download.error_detail
    with storage.storage().open(download.filepath) as file:
        return pq.read_table(io.BytesIO(file.read()))


FIELDS = {
    **dict.fromkeys(["id", "integer", "big", "small", "customer"], "int64"),
    "flag": "bool",
    "amount": "decimal128(38, 2)",
    "precise": "decimal128(38, 6)",
    "ratio": "double",
    **dict.fromkeys(["text", "short", "slug", "email", "link", "file", "choice"], "string"),
    **dict.fromkeys(["uid", "address", "data"], "string"),
    "day": "date32[day]",
    "moment": "timestamp[us, tz=UTC]",
    "clock": "time64[us]",
    "span": "duration[us]",
    "blob": "binary",
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("rows", [0, 1])
def test_the_fields_of_a_queryset_decide_the_types(key: str, rows: int) -> None:
    Specimen.objects.bulk_create(Specimen() for _ in range(rows))
    cache.save_download(key, Specimen.objects.values_list(*FIELDS), header="verbose")
    assert {name: str(kind) for name, kind in zip(FIELDS, saved().schema.types, strict=True)} == (
        FIELDS
    )


@pytest.mark.django_db(transaction=True)
@pytest.mark.any_database
def test_the_header_of_mappings_chooses_the_fields(key: str) -> None:
    OrderFactory(total="19.90", reference="7")
    rows = Order.objects.values("reference", "total", "customer_id")
    cache.save_download(key, rows, header=["total", "reference"])
    table = saved()
    assert table.to_pylist() == [{"total": Decimal("19.90"), "reference": "7"}]
    assert str(table.schema.types[0]) == "decimal128(38, 2)"


@pytest.mark.django_db(transaction=True)
@pytest.mark.any_database
def test_a_column_of_labels_is_text(key: str) -> None:
    Specimen.objects.create()
    cache.save_download(key, Specimen.objects.values("choice", "integer"), labels=True)
    assert saved().to_pylist() == [{"choice": "Apple", "integer": None}]


@pytest.mark.django_db(transaction=True)
@pytest.mark.any_database
def test_times_have_the_time_zone_of_the_download(key: str) -> None:
    Specimen.objects.create(moment=MOMENT)
    cache.save_download(key, Specimen.objects.values("moment"), time_zone="Europe/Berlin")
    table = saved()
    assert str(table.schema.types[0]) == "timestamp[us, tz=Europe/Berlin]"
    assert table.to_pylist() == [{"moment": MOMENT}]
    assert ZoneInfo("Europe/Berlin").key in str(table.schema)


@pytest.mark.django_db(transaction=True)
@pytest.mark.any_database
def test_the_values_of_a_json_field_are_text(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "CHUNK_ROWS", 1)
    for data in (1.5, {"a": 1}, "text"):
        Specimen.objects.create(data=data)
    cache.save_download(key, Specimen.objects.order_by("pk").values("data"))
    assert [row["data"] for row in saved().to_pylist()] == ["1.5", '{"a": 1}', "text"]
