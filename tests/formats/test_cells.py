"""The conversion of cells."""

import base64
import enum
import ipaddress
import json
import re
import uuid
from array import array
from collections import OrderedDict, UserList, deque, namedtuple
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType, ModuleType
from typing import Any

import pytest
from django.db.models import IntegerChoices, TextChoices
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy
from hypothesis import given, settings
from hypothesis import strategies as st

from async_downloads.formats.cells import CellError, flat, is_scalar, tree
from tests.factories import CustomerFactory
from tests.shop.models import Customer, Order

MOMENT = datetime(2026, 1, 31, 9, 5, tzinfo=UTC)


class Level(enum.Enum):
    LOW = "low"
    PAIR = (1, 2)


class Mixed(str, enum.Enum):  # noqa: UP042 (it prints another text)
    LOW = "low"


class Kind(TextChoices):
    LOW = "low", "Low"


class Number(IntegerChoices):
    ONE = 1, "One"


class Money(Decimal):
    def __str__(self) -> str:
        return "5 EUR"


class Loud(str):
    def __str__(self) -> str:
        return "LOUD"


Point = namedtuple("Point", "x y")

PLAIN = [
    *("text", "", 5, -0.0, True, None, Decimal("19.90"), MOMENT, date(2026, 1, 31), time(9, 5)),
    *(timedelta(days=1), uuid.UUID(int=5), float("inf"), Money("5"), Fraction(1, 2), 1j),
]


@pytest.mark.parametrize("cell", PLAIN, ids=repr)
def test_plain_values_stay_unchanged(cell: Any) -> None:
    assert flat(cell) is cell
    assert tree(cell) is cell


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        (Level.LOW, "low"),
        (Level.PAIR, "[1, 2]"),
        (Mixed.LOW, "low"),
        (Kind.LOW, "low"),
        (Number.ONE, 1),
        (mark_safe("<b>"), "<b>"),
        (Loud("quiet"), "quiet"),
        (gettext_lazy("January"), "January"),
        (ipaddress.ip_address("10.0.0.1"), "10.0.0.1"),
        (b"\xff\x00", "/wA="),
        (bytearray(b"ab"), "YWI="),
        (memoryview(b"abcd")[::2], "YWM="),
        ({}, "{}"),
        ([], "[]"),
        ({"k": "é", "n": None}, '{"k": "é", "n": null}'),
        ([1, "a", [True]], '[1, "a", [true]]'),
        ((1, Decimal("1.50")), '[1, "1.50"]'),
        (Point(1, 2), "[1, 2]"),
        ({3, 1, 2}, "[1, 2, 3]"),
        (frozenset("ba"), '["a", "b"]'),
        ({1, "a"}, '[1, "a"]'),
        (deque([1]), "[1]"),
        (array("i", [1]), "[1]"),
        (range(3), "[0, 1, 2]"),
        (UserList([1]), "[1]"),
        ({"k": 1}.keys(), '["k"]'),
        ({"k": 1}.values(), "[1]"),
        (OrderedDict(k=1), '{"k": 1}'),
        (MappingProxyType({"k": 1}), '{"k": 1}'),
        ([float("nan"), float("-inf"), {"k": float("inf")}], '[null, null, {"k": null}]'),
        ([MOMENT, time(9, 5, tzinfo=UTC)], '["2026-01-31T09:05:00+00:00", "09:05:00+00:00"]'),
        ([gettext_lazy("January"), Level.LOW, b"ab", 1j], '["January", "low", "YWI=", "1j"]'),
        (
            {gettext_lazy("January"): 1, (1, 2): 2, None: 3, True: 4, 1.5: 5, b"ab": 6},
            '{"January": 1, "[1, 2]": 2, "null": 3, "true": 4, "1.5": 5, "YWI=": 6}',
        ),
    ],
)
def test_other_values_are_converted(cell: Any, value: Any) -> None:
    assert flat(cell) == value
    assert type(flat(cell)) is type(value)


def test_structures_become_lists_and_dictionaries() -> None:
    assert tree({"k": ({1}, deque([b"ab"])), "l": MappingProxyType({1: Level.PAIR})}) == {
        "k": [[1], ["YWI="]],
        "l": {"1": [1, 2]},
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(max_examples=40)
@given(st.lists(JSON) | st.dictionaries(st.text(), JSON))
def test_json_text_can_be_parsed_to_the_same_value(cell: Any) -> None:
    assert json.loads(flat(cell)) == cell


@given(st.binary())
def test_bytes_can_be_decoded_from_their_text(cell: bytes) -> None:
    for kind in (bytes, bytearray, memoryview):
        assert base64.b64decode(flat(kind(cell))) == cell


def generated() -> Any:
    yield 1


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (object(), "is a object, which has no text"),
        (generated(), "is a generator, which has no text"),
        (map(str, []), "is a map, which"),
        (generated, "is a function, which"),
        (Customer(name="Ada").save, "is a method, which"),
        (print, "is a builtin_function_or_method, which"),
        (Order, "is a ModelBase, which"),
        ([{"k": object()}], "is a object, which"),
        ({1: "a", "1": "b"}, "two keys of the same text"),
        (Order.objects, "is a Manager, which is a query"),
        (Order.objects.all(), "is a QuerySet, which is a query"),
        (Order.objects.raw("SELECT 1"), "is a RawQuerySet, which is a query"),
        (Customer(pk=1).orders, "is a RelatedManager, which is a query"),
    ],
    ids=str.split(
        "object generator map function method builtin class "
        "within keys manager queryset raw related"
    ),
)
def test_an_object_without_a_value_is_refused(cell: Any, reason: str) -> None:
    with pytest.raises(CellError, match=re.escape(reason)):
        flat(cell)


@pytest.mark.django_db
def test_a_model_instance_is_its_text() -> None:
    customer = CustomerFactory(name="Ada")
    assert flat(customer) == str(customer)
    assert flat([customer]) == json.dumps([str(customer)])


# Values of libraries that the package does not import


@pytest.fixture(params=["psycopg", "psycopg2"])
def ranges(request: pytest.FixtureRequest) -> Any:
    if request.param == "psycopg":
        return pytest.importorskip("psycopg.types.range").Range
    return pytest.importorskip("psycopg2.extras").NumericRange


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        ((1, 10), "[1,10)"),
        ((1, 10, "(]"), "(1,10]"),
        ((None, Decimal("1.50")), "(,1.50)"),
        ((None, None), "(,)"),
        ((-5, None), "[-5,)"),
        ((date(2026, 1, 31), date(2026, 2, 1)), "[2026-01-31,2026-02-01)"),
        (
            (MOMENT, MOMENT.replace(microsecond=500_000)),
            '["2026-01-31 09:05:00+00","2026-01-31 09:05:00.5+00")',
        ),
        (('a "b', "\\", "[]"), '["a ""b","\\\\"]'),
    ],
    ids=repr,
)
def test_a_range_is_printed_as_by_its_database(ranges: Any, bounds: Any, text: str) -> None:
    assert flat(ranges(*bounds)) == text
    assert flat([ranges(*bounds)]) == json.dumps([text])


def test_an_empty_range_is_printed_as_by_its_database(ranges: Any) -> None:
    assert flat(ranges(empty=True)) == "empty"


def test_a_multirange_is_printed_as_by_its_database() -> None:
    found = pytest.importorskip("psycopg.types.range").Range
    several = pytest.importorskip("psycopg.types.multirange").Multirange
    assert flat(several([found(1, 3), found(5, 8)])) == "{[1,3),[5,8)}"


@pytest.fixture
def np() -> ModuleType:
    return pytest.importorskip("numpy")


@pytest.fixture
def pd() -> ModuleType:
    return pytest.importorskip("pandas")


def test_values_of_numpy_become_python_values(np: Any) -> None:
    moment = np.datetime64("2026-01-31T09:05:00.5", "ns")
    for cell, value in [
        (np.int8(3), 3),
        (np.float64(1.5), 1.5),
        (np.float32(0.1), 0.1),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (np.bytes_(b"ab"), "YWI="),
        (np.datetime64("2026-01-31"), date(2026, 1, 31)),
        (moment, datetime(2026, 1, 31, 9, 5, 0, 500_000)),  # noqa: DTZ001 (it has no zone)
        (moment + np.timedelta64(1, "ns"), "2026-01-31T09:05:00.500000001"),
        (np.datetime64("NaT"), None),
        (np.datetime64("NaT", "ns"), None),
        (np.timedelta64(5, "s"), timedelta(seconds=5)),
        (np.timedelta64(3, "Y"), "3 years"),
        (np.longdouble(1.5), "1.5"),
        (np.array([[1, 2]]), "[[1, 2]]"),
        (np.array(5), 5),
    ]:
        assert flat(cell) == value
        assert type(flat(cell)) is type(value)


def test_values_of_pandas_become_python_values(pd: Any) -> None:
    moment = datetime(2026, 1, 31, 9, 5, 0, 500_000, tzinfo=UTC)
    exact = pd.Timestamp("2026-01-31 09:05:00.123456789")
    for cell, value in [
        (pd.NaT, None),
        (pd.NA, None),
        (pd.Timestamp(moment), moment),
        (exact, "2026-01-31 09:05:00.123456789"),
        (pd.Timedelta("1 day"), timedelta(days=1)),
        (pd.Series([1, 2]), "[1, 2]"),
        (pd.DataFrame({"a": [1, 2]}), '[{"a": 1}, {"a": 2}]'),
        (pd.Period("2026-01"), "2026-01"),
    ]:
        assert flat(cell) == value
        assert type(flat(cell)) is type(value)
    assert all(map(is_scalar, [pd.NA, pd.NaT, exact, 5, None, date.max, Level.LOW]))
    assert not any(map(is_scalar, ["text", b"", object(), Order, Order.objects]))
