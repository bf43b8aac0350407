"""Rows, in each format and in members of archives."""

import io
import re
import zipfile
from collections import UserDict, namedtuple
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from itertools import groupby
from operator import itemgetter
from types import MappingProxyType, SimpleNamespace
from typing import Any, Final

import pytest
from django.core.files.storage import default_storage
from django.utils import translation
from django.utils.translation import gettext_lazy

from async_downloads import cache
from async_downloads.exceptions import DownloadError
from async_downloads.formats import Options, Rows, cells, registry
from async_downloads.formats import rows as rows_module
from async_downloads.formats.rows import MAX_BATCH_ROWS, Batches, check_header
from async_downloads.models import Download
from tests.factories import CustomerFactory, DownloadFactory, OrderFactory
from tests.shop.models import Customer, Order

pytestmark = pytest.mark.any_database

A_ROW = "A row is an iterable of cells, such as a list or a tuple, or a mapping of names to cells."


def read(rows: Any, header: Any = None) -> list[list[Any]]:
    return [list(row) for batch in Batches(rows, header).of(cells.flat) for row in batch]


# Kinds of rows

Named = namedtuple("Named", "a b")


@pytest.mark.parametrize(
    ("row", "cells"),
    [
        ([1, 2], [1, 2]),
        ((1, 2), [1, 2]),
        (Named(1, 2), [1, 2]),
        (range(2), [0, 1]),
        ((cell for cell in "ab"), ["a", "b"]),
        ({"a": 1}.values(), [1]),
        ([], []),
        ({"a": 1, "b": 2}, [1, 2]),
        (UserDict(a=1, b=2), [1, 2]),
        (MappingProxyType({"a": 1}), [1]),
        (5, [5]),
        (None, [None]),
        (1.5, [1.5]),
        (True, [True]),
        (Decimal("19.90"), [Decimal("19.90")]),
        (date(2026, 1, 31), [date(2026, 1, 31)]),
    ],
)
def test_the_cells_of_a_row(row: Any, cells: list[Any]) -> None:
    assert read([row]) == [cells]


class Lines:
    """An object without text and without cells."""


REFUSED: list[Any] = [
    *("text", b"bytes", bytearray(b"x"), memoryview(b"x"), gettext_lazy("January")),
    *(Customer(name="Ada"), Lines(), Customer),
]


@pytest.mark.parametrize("before", [0, 1, 300])
@pytest.mark.parametrize("row", REFUSED, ids=lambda row: type(row).__name__)
def test_an_invalid_row_is_refused_with_its_number(row: Any, before: int) -> None:
    with pytest.raises(DownloadError) as raised:
        read([*([1],) * before, row], header=["n"])
    assert str(raised.value).startswith(f"Row {before + 1} is a {type(row).__name__}")
    assert str(raised.value).endswith(A_ROW)


def test_an_error_in_a_lazy_row_is_raised_unchanged() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise TypeError("mine")

    with pytest.raises(TypeError, match="mine"):
        read([broken()])


# Mappings


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        (None, [[1, 2, 3]]),
        (["a", "b", "c"], [[1, 2, 3]]),
        (["c", "a", "b"], [[3, 1, 2]]),
        (["b"], [[2]]),
        (["b", "b"], [[2, 2]]),
        ([gettext_lazy("c"), "a"], [[3, 1]]),
        (["A", "B", "C"], [[1, 2, 3]]),
        (["a", "B", "c"], [[1, 2, 3]]),
        (iter(["C", "B", "A"]), [[1, 2, 3]]),
    ],
)
def test_the_header_names_the_cells_of_a_mapping_or_labels_them(header: Any, rows: Any) -> None:
    assert read([{"a": 1, "b": 2, "c": 3}], header) == rows


@pytest.mark.parametrize(
    "header",
    [[], ["A"], ["a", "B"], ["A", "B", "C", "D"], ["b", "B", "c"], ["x", "a", "y"]],
    ids=repr,
)
def test_any_other_header_for_mappings_is_refused(header: list[str]) -> None:
    with pytest.raises(DownloadError, match=r"^The header \(.*\) neither names keys of the rows"):
        read([{"a": 1, "b": 2, "c": 3}], header)


def test_a_key_need_not_be_text() -> None:
    assert read([{1: "a", None: "b", (1, 2): "c"}], ["None", "1"]) == [["b", "a"]]


def test_all_mappings_have_the_keys_of_the_first() -> None:
    assert read([{"a": 1, "b": 2}, {"b": 4, "a": 3}]) == [[1, 2], [3, 4]]
    assert read([{}, {}]) == [[], []]


@pytest.mark.parametrize("other", [{"a": 1}, {"a": 1, "b": 2, "c": 3}, {"a": 1, "c": 3}, {}])
@pytest.mark.parametrize("header", [None, ["a"], ["A", "B"]])
@pytest.mark.parametrize("before", [1, 300])
def test_a_later_mapping_with_other_keys_is_an_error(before: int, header: Any, other: Any) -> None:
    with pytest.raises(DownloadError, match=rf"^Row {before + 1} has the keys .* first row has"):
        read([*({"a": 1, "b": 2},) * before, other], header)


@pytest.mark.parametrize("rows", [[[1, 2], {"a": 1, "b": 2}], [{"a": 1, "b": 2}, [1, 2]]])
def test_mappings_and_others_are_not_mixed(rows: Any) -> None:
    with pytest.raises(DownloadError, match=r"^Row 2 is a .*, while the rows before it are"):
        read(rows)


# In files

FORMATS = ["csv", "tsv", "csv-excel", "csv.gz", "zip"]


@pytest.mark.parametrize("name", FORMATS)
def test_mappings_are_rows_in_every_format(name: str) -> None:
    rows = [{"a": 1, "b": 2}, {"b": 4, "a": 3}]
    for header, lines in ((None, [[1, 2], [3, 4]]), (["b", "a"], [[2, 1], [4, 3]])):
        assert made(name, rows, header) == made(name, lines, header)


def made(name: str, rows: Any, header: Any) -> bytes:
    stream = io.BytesIO()
    options = Options(name="orders", header=header)
    assert registry.named(name).write(rows, stream, options) == len(rows)
    if name != "zip":
        return stream.getvalue()
    with zipfile.ZipFile(stream) as archive:
        return archive.read(archive.namelist()[0])


@pytest.fixture
def key(user: Any) -> str:
    return DownloadFactory(collection__user=user, filename="orders.csv").download_key


def content() -> bytes:
    with default_storage.open(Download.objects.get().filepath) as file:
        return bytes(file.read())


def by_itself(key: str, rows: Any, header: Any) -> Callable[[], bytes]:
    """Save rows, and return a function that reads the file."""
    cache.save_download(key, rows, header=header)
    return content


def as_member(key: str, rows: Any, header: Any) -> Callable[[], bytes]:
    """Save rows in an archive, and return a function that reads the member."""
    cache.save_download(key, members=[("orders.csv", Rows(rows, header))])

    def member() -> bytes:
        with zipfile.ZipFile(io.BytesIO(content())) as archive:
            return archive.read("orders.csv")

    return member


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("save", [by_itself, as_member])
@pytest.mark.parametrize(
    ("queryset", "header", "text"),
    [
        (lambda: Order.objects.values("total", "reference"), None, "3.00,R1\n"),
        (lambda: Order.objects.values("total", "reference"), ["reference"], "reference\nR1\n"),
        (lambda: Order.objects.values("total"), ["How much"], "How much\n3.00\n"),
        (lambda: Order.objects.values_list("reference", flat=True), None, "R1\n"),
        (lambda: Order.objects.values_list("total", flat=True), ["n"], "n\n3.00\n"),
        (lambda: Order.objects.values_list("total", "reference", named=True), None, "3.00,R1\n"),
        (lambda: Customer.objects.values_list("name", flat=True).union(
            Order.objects.values_list("reference", flat=True)).order_by("name"), None, "Ada\nR1\n"),
        (lambda: list(Order.objects.values("reference")), ["reference"], "reference\nR1\n"),
        (lambda: Order.objects.values_list("total", flat=True).iterator(), None, "3.00\n"),
    ],
)  # fmt: skip
def test_rows_of_every_kind_of_queryset(
    key: str, queryset: Callable[[], Any], header: Any, text: str, save: Callable[..., str]
) -> None:
    OrderFactory(customer=CustomerFactory(name="Ada"), reference="R1", total=3)
    assert save(key, queryset(), header)().decode() == text


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("save", [by_itself, as_member])
@pytest.mark.parametrize(
    ("rows", "name"),
    [
        (lambda: Order.objects.all(), "Order \\(a model instance\\)"),
        (lambda: Order.objects.values_list("reference", flat=True).iterator(), "str"),
        (lambda: "text", "str"),
        (lambda: {"a": [1], "b": [2]}, "str"),
        (lambda: io.BytesIO(b"a\nb"), "bytes"),
    ],
    ids=["objects", "texts", "text", "mapping", "file"],
)
def test_other_objects_instead_of_rows_fail_with_a_message(
    key: str, rows: Any, name: str, save: Callable[..., str], request: Any
) -> None:
    if save is as_member and request.node.callspec.id.startswith(("text-", "file")):
        pytest.skip("A member may be a text or a file.")
    OrderFactory(customer=CustomerFactory())
    save(key, rows(), ["n"])
    assert re.fullmatch(f"Row 1 is a {name}. {A_ROW}", Download.objects.get().errors)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("header", ["reference", b"reference", {"a": "A"}, 5])
def test_an_invalid_header_is_refused_at_once(key: str, header: Any) -> None:
    with pytest.raises(TypeError, match="A header is an iterable of names"):
        cache.save_download(key, [[1]], header=header)


@pytest.mark.parametrize("header", [None, [], ["a"], iter(["a"]), {"a": 1}.keys()])
def test_a_valid_header_is_accepted(header: Any) -> None:
    check_header(header)


# Cells


@pytest.mark.parametrize(
    ("rows", "header", "place"),
    [
        ([[1], [1, Order.objects]], None, "Row 2, column 2"),
        ([[1], [1, Order.objects]], ["n", "tags"], r"Row 2, column 2 \(tags\)"),
        ([{"tags": Order.objects}], None, r"Row 1, column 1 \(tags\)"),
        ([*([1],) * 500, [Order.objects]], ["n"], r"Row 501, column 1 \(n\)"),
    ],
)
def test_a_cell_that_cannot_be_written_is_named(rows: Any, header: Any, place: str) -> None:
    with pytest.raises(DownloadError, match=rf"^{place}: the cell is a .* query and not a value"):
        read(rows, header)


def test_a_cell_of_the_header_that_cannot_be_written_is_named() -> None:
    with pytest.raises(DownloadError, match=r"^The header, column 2: the cell is a function"):
        Batches([], ["a", read]).heading(cells.flat)


def test_an_error_in_a_cell_has_a_note_with_its_place() -> None:
    class Broken:
        def __str__(self) -> str:
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine") as raised:
        read([[1], [2, Broken()]], ["n", "broken"])
    assert raised.value.__notes__ == ["Row 2, column 2 (broken)."]


# Batches


def test_rows_are_read_once_in_order_and_counted_before_they_are_used() -> None:
    batches = Batches([number] for number in range(1000))
    seen = [(batches.count, [cell for (cell,) in batch]) for batch in batches.of(cells.flat)]
    assert [number for _, batch in seen for number in batch] == list(range(1000))
    assert all(count == batch[0] for count, batch in seen)
    assert max(len(batch) for _, batch in seen) <= MAX_BATCH_ROWS + rows_module.MAX_UNTIMED_ROWS


def test_iteration_yields_single_rows() -> None:
    assert list(Batches(iter([[1], {"x"}.copy(), (3,)]))) == [[1], ["x"], (3,)]


def one_list_for_all() -> Iterator[Any]:
    row = [0, 0]
    for number in range(20):
        row[:] = number, 2 * number
        yield row


def one_mapping_for_all() -> Iterator[Any]:
    row: dict[str, int] = {}
    for number in range(20):
        row.update(a=number, b=2 * number)
        yield row


def of_late_cells() -> Iterator[Any]:
    # The generator reads the number when it makes a cell.
    return ((number * factor for factor in (1, 2)) for number in range(20))


def of_groups() -> Iterator[Any]:
    cells_of_all = ((number, cell) for number in range(20) for cell in (number, 2 * number))
    for _, group in groupby(cells_of_all, key=itemgetter(0)):
        yield map(itemgetter(1), group)


def one_structure_for_all() -> Iterator[Any]:
    cell: list[int] = []
    for number in range(20):
        cell[:] = number, 2 * number
        yield (1, cell) if number else (1, 1)


def of_lazy_texts() -> Iterator[Any]:
    text = gettext_lazy("Yes")
    for language in ("de", "fr", "de", "fr", "de"):
        with translation.override(language):
            yield [text]


PAIRS: Final = [[number, 2 * number] for number in range(20)]


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize(
    ("make", "right"),
    [
        (one_list_for_all, PAIRS),
        (one_mapping_for_all, PAIRS),
        (of_late_cells, PAIRS),
        (of_groups, PAIRS),
        (one_structure_for_all, [[1, 1], *([1, f"[{a}, {b}]"] for a, b in PAIRS[1:])]),
        (of_lazy_texts, [["Ja"], ["Oui"], ["Ja"], ["Oui"], ["Ja"]]),
    ],
)
def test_a_row_is_copied_when_it_is_read(
    make: Callable[[], Iterator[Any]], right: list[Any], batched: bool
) -> None:
    if batched:
        assert read(make()) == right
    else:
        assert [[cells.flat(cell) for cell in row] for row in Batches(make())] == right


def test_batches_of_batches_are_the_same() -> None:
    batches = Batches([[1]], ["n"])
    assert Batches.over(batches, None) is batches


@pytest.mark.parametrize(
    ("rows", "header", "names"),
    [
        ([[1]], ["a", 5], ["a", "5"]),
        ([[1]], None, None),
        ([], None, None),
        ([{"a": 1}], None, ["a"]),
        ([{"a": 1, "b": 2}], ["b"], ["b"]),
        ([{"a": 1, "b": 2}], ["A", "B"], ["A", "B"]),
    ],
)
def test_the_names_of_the_columns_are_known_before_the_rows(
    rows: list[Any], header: Any, names: Any
) -> None:
    batches = Batches(rows, header)
    assert batches.names == names
    assert len([row for batch in batches.of(cells.tree) for row in batch]) == len(rows)
    assert batches.names == names


def test_a_batch_has_few_large_rows() -> None:
    alive = most = 0

    class Large(list[str]):
        def __init__(self) -> None:
            nonlocal alive, most
            super().__init__(["x" * rows_module.MAX_BATCH_TEXT])
            alive += 1
            most = max(most, alive)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    for _ in Batches(Large() for _ in range(300)).of(cells.flat):
        pass
    assert most < 10


def test_slow_rows_are_reported_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(rows_module, "time", SimpleNamespace(monotonic=lambda: now))
    beats: list[tuple[int, float]] = []

    def rows() -> Iterator[list[int]]:
        nonlocal now
        for number in range(1000):
            now += 0.0001 if number < 500 else 1.0
            yield [number]

    def report(count: int, moment: float) -> bool:
        beats.append((count, moment))
        return False

    batches = Batches(rows(), report=report).of(cells.flat)
    assert sum(len(batch) for batch in batches) == 1000
    quick = [moment for count, moment in beats if count < 500]
    assert len(quick) < 60
    slow = [count for count, _ in beats if count > 500 + rows_module.MAX_UNTIMED_ROWS]
    assert slow == list(range(501 + rows_module.MAX_UNTIMED_ROWS, 1001))


def test_after_a_report_the_next_row_is_checked() -> None:
    beats: list[int] = []

    def report(count: int, now: float) -> bool:
        beats.append(count)
        return True

    assert len(list(Batches(([1] for _ in range(300)), report=report))) == 300
    assert beats == list(range(301))


def test_the_context_spans_all_rows() -> None:
    seen: list[str] = []

    @contextmanager
    def context() -> Iterator[None]:
        seen.append("begin")
        try:
            yield
        finally:
            seen.append("end")

    def rows() -> Iterable[list[str]]:
        seen.append("row")
        yield ["a"]

    batches = Batches(rows(), context=context)
    assert batches.names is None
    assert list(batches) == [["a"]]
    assert seen == ["begin", "row", "end"]
