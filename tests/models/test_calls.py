"""Which calls a row can record, and what it gives back of them."""

import datetime
import decimal
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from async_downloads.models import Call, Download
from async_downloads.models.calls import MAX_TASK_LENGTH
from tests.factories import DownloadFactory

PATH = "tests.jobs.export"

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters())

VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)

#: Values of which JSON would make something else.
OTHERS = st.sampled_from(
    [(1,), {1}, b"a", datetime.date(2026, 1, 31), decimal.Decimal(1), uuid.UUID(int=1), {1: "a"}]
)


def types_of(value: Any) -> Any:
    """Return a value with the types of all its parts."""
    if isinstance(value, dict):
        return [dict, {key: types_of(item) for key, item in value.items()}]
    if isinstance(value, list):
        return [list, *map(types_of, value)]
    return [type(value), value]


@given(
    args=st.lists(VALUES | OTHERS, max_size=3),
    kwargs=st.dictionaries(st.text(), VALUES | OTHERS, max_size=3),
)
def test_a_call_is_read_as_it_was_written_or_not_recorded(args: Any, kwargs: Any) -> None:
    call = Call.recordable(PATH, args, kwargs)
    if call is None:
        return
    read = Call.read(call.task, call.arguments)
    assert read is not None
    assert read.task == PATH
    assert types_of(list(read.args)) == types_of(list(args))
    assert types_of(dict(read.kwargs)) == types_of(dict(kwargs))


@given(args=st.lists(VALUES, max_size=3))
def test_the_arguments_are_ascii_without_a_nul(args: Any) -> None:
    """A column of any encoding takes them."""
    call = Call.recordable(PATH, args, {})
    if call is not None:
        assert call.arguments.isascii()
        assert "\x00" not in call.arguments


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


class Text(str):
    """A text with more to it."""


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 1, -1, 0.5, 1e300, "", "ä", "\x00", "\ud800", [], {}),
        *([1, [2, {"a": [None]}]], {"a": {"b": "c"}}, 10**300),
    ],
    ids=ascii,
)
def test_plain_json_is_recorded(value: Any) -> None:
    call = Call.recordable(PATH, (value,), {"value": value})
    assert call is not None
    read = Call.read(call.task, call.arguments)
    assert read == Call(PATH, [value], {"value": value})


@pytest.mark.parametrize(
    "value",
    [
        *((1, 2), {1}, b"a", datetime.date(2026, 1, 31), decimal.Decimal(1), uuid.UUID(int=1)),
        *(float("nan"), float("inf"), 1j, object(), Text("a"), {1: "a"}, {None: "a"}),
        *(10**5000, "\ud83d\ude00", nested(100_000)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_values_are_not(value: Any) -> None:
    assert Call.recordable(PATH, (value,), {}) is None
    assert Call.recordable(PATH, (), {"value": value}) is None
    assert Call.recordable(PATH, ([{"inside": value}],), {}) is None


@pytest.mark.parametrize(
    "task", ["", "tests.jobs.größe", "a" * (MAX_TASK_LENGTH + 1)], ids=["none", "ä", "too long"]
)
def test_a_task_without_a_path_that_fits_is_not_recorded(task: str) -> None:
    assert Call.recordable(task, (), {}) is None
    assert Call.recordable("a" * MAX_TASK_LENGTH, (), {}) is not None


def test_the_order_of_keyword_arguments_does_not_matter() -> None:
    calls = [Call.recordable(PATH, (), kwargs) for kwargs in ({"a": 1, "b": 2}, {"b": 2, "a": 1})]
    texts = {call.arguments for call in calls if call is not None}
    assert texts == {'[[], {"a": 1, "b": 2}]'}


@pytest.mark.parametrize(
    ("one", "another"), [(1, True), (1, 1.0), (0, False), ("1", 1), (None, "None"), ([], {})]
)
def test_values_that_are_equal_in_python_alone_are_different_calls(one: Any, another: Any) -> None:
    calls = [Call.recordable(PATH, (value,), {}) for value in (one, another)]
    assert len({call.arguments for call in calls if call is not None}) == 2


@pytest.mark.django_db
def test_a_row_gives_back_its_call() -> None:
    call = Call(PATH, [1, "ä\x00\ud800", [None, 0.1]], {"since": "2026-01-31"})
    pk = DownloadFactory(task=call.task, arguments=call.arguments).pk
    assert Download.objects.get(pk=pk).call == call


@pytest.mark.django_db
def test_a_row_without_a_call_gives_none() -> None:
    assert Download.objects.get(pk=DownloadFactory().pk).call is None


@pytest.mark.django_db
def test_a_call_that_asks_first_is_the_same_call() -> None:
    plain = Call(PATH, [1], {"a": 1})
    asking = plain._replace(asks_first=True)
    row = DownloadFactory(task=asking.task, arguments=asking.arguments)
    assert Download.objects.get(pk=row.pk).call == asking != plain
    assert plain.spellings == asking.spellings == (plain.arguments, asking.arguments)
