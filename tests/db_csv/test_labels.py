"""Which labels a database finds as Python does."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.utils.hashable import make_hashable

from async_downloads.db_csv import mysql
from async_downloads.db_csv.column_types import Kind
from async_downloads.db_csv.labels import known_labels, label_of
from tests.shop.models import Specimen


@pytest.mark.parametrize(
    ("kind", "labels", "known"),
    [
        (Kind.TEXT, {"a": "A", None: "-", 1: "one"}, {"a": "A", None: "-"}),
        (Kind.INTEGER, {1: "one", "1": "text", 2**63: "beyond"}, {1: "one"}),
        (Kind.INTEGER, {True: "one", -(2**63): "least"}, {1: "one", -(2**63): "least"}),
        (Kind.BOOLEAN, {1: "yes", 0: "no", 2: "?"}, {True: "yes", False: "no"}),
        (Kind.TEXT, {}, {}),
        # Python takes 1.0 for 1, and a database may not.
        (Kind.INTEGER, {1.0: "one"}, None),
        (Kind.INTEGER, {Decimal(1): "one"}, None),
        (Kind.DATE, {date(2026, 1, 31): "day"}, None),
        (Kind.DECIMAL, {}, None),
        (None, {"a": "A"}, None),
        # No statement can hold these.
        (Kind.TEXT, {"a\0": "A"}, None),
        (Kind.TEXT, {"a": "\ud800"}, None),
    ],
    ids=ascii,
)
def test_labels_are_known_if_a_database_compares_as_python(
    kind: Kind | None, labels: Any, known: Any
) -> None:
    assert known_labels(labels, kind) == known


def test_a_member_of_choices_is_its_value() -> None:
    choice = Specimen._meta.get_field("choice")
    labels = known_labels(dict(choice.flatchoices), Kind.TEXT)
    assert labels == {"a": "Apple", "b": "Pear"}


def test_a_value_that_cannot_be_hashed_may_have_a_label() -> None:
    """A JSON field may have choices, and MariaDB takes them for any column."""
    labels = {make_hashable(["a", {"b": 1}]): "Both"}
    for value, text in ((["a", {"b": 1}], "Both"), (["a"], ["a"])):
        assert label_of(labels, value) == text
        assert mysql._label(labels, None, value) == text
