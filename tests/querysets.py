"""Random querysets of plain columns, and values at the limits of Python's types."""

import random
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.db import connection
from django.db.models import Count, F, Max, Min, QuerySet, Sum, TextField, Value, functions

from async_downloads.building.columns import SelectedColumns
from tests.shop.models import Customer, SortedSpecimen, Specimen

VALUES: Final[dict[str, tuple[Any, ...]]] = {
    "integer": (0, -1, 2**31 - 1, -(2**31)),
    "big": (0, 2**63 - 1, -(2**63)),
    "small": (0, 32767),
    "flag": (True, False),
    "amount": tuple(map(Decimal, ("0", "-0.01", "9999999999.99", "-9999999999.99", "5"))),
    "precise": tuple(map(Decimal, ("0.000001", "-0.000001", "999999999.999999", "0"))),
    "ratio": (0.0, 0.1 + 0.2, 1e15, 1e16, 1e-5, -1e100, 5e-300),
    "text": (
        *(
            "",
            " ",
            "\\.",
            "NULL",
            "a,b",
            '"',
            "\r",
            "a\rb",
            "a\nb",
            "a\r\nb",
            "=1",
            "x;=1",
            "x\t@y",
        ),
        *(
            "\ufeff+1",
            "＝1",
            "é名🙂",
            "'",
            "\\",
            "%s",
            "\\N",
            "-5",
            "1e5",
            "\x1f",
            " a ",
            "🙂" * 50,
        ),
    ),
    "short": ("", "a", "b,", "\r", "\\.", '""', "=", "A", "\t"),
    "slug": ("a-slug", "", "-x"),
    "email": ("ada@example.com", "", "@b", "z@example.com"),
    "link": ("https://example.com/?a=1,2", ""),
    "file": ("a/file.csv", ""),
    "day": (date.min, date(2024, 2, 29), date(1900, 2, 28), date.max),
    "moment": tuple(
        each.replace(tzinfo=UTC)
        for each in (
            datetime.min,  # noqa: DTZ901
            datetime.max,  # noqa: DTZ901
            datetime(2026, 1, 31),  # noqa: DTZ001
            datetime(2024, 2, 29, 23, 59, 59, 500000),  # noqa: DTZ001
            datetime(999, 12, 31, 0, 0, 0, 1),  # noqa: DTZ001
        )
    ),
    "clock": (time.min, time.max, time(12), time(1, 2, 3, 40)),
    "span": (timedelta(0), timedelta(days=-1, microseconds=1), timedelta(days=10**6, seconds=1)),
    "uid": (
        UUID(int=0),
        UUID("ffffffffffff4fffbfffffffffffffff"),
        UUID("0123456789ab4def8123456789abcdef"),
    ),
    "address": ("10.0.0.1", "::1", "2001:db8::ff00:42:8329", "255.255.255.255"),
    "blob": (b"", b"\xfb\xff", b"=1", bytes(range(60))),
    "data": ({}, [], {"a": [1, None]}, "text", 1.5, True),
    "choice": ("a", "b"),
}

NULLABLE: Final = {field.attname for field in Specimen._meta.concrete_fields if field.null}

FIELDS: Final = ("pk", "customer", "customer__name", *VALUES)

#: Fields that some database sends to the row path.
ODD: Final = ("data", "span", "ratio", "blob")


def make_specimens(chance: random.Random, number: int) -> None:
    """Replace the specimens by new ones, many of them equal."""
    Specimen.objects.all().delete()
    Customer.objects.all().delete()
    customers = [Customer.objects.create(name=name) for name in ("Ada", "=Grace, jr.", "")]
    Specimen.objects.bulk_create(
        Specimen(
            customer=chance.choice([None, *customers]),
            **{
                name: chance.choice([*values, *([None] * (name in NULLABLE))])
                for name, values in VALUES.items()
            },
        )
        for _ in range(number)
    )


TEXT: Final = TextField()

ANNOTATIONS: Final[dict[str, Callable[[], Any]]] = {
    "least": lambda: Min("amount"),
    "latest": lambda: Max("moment"),
    "first": lambda: Min("day"),
    "last": lambda: Max("text"),
    "sum": lambda: Sum("amount"),
    "sum_of_big": lambda: Sum("integer"),
    "number": lambda: Count("pk"),
    "number_of_texts": lambda: Count("text", distinct=True),
    "loud": lambda: functions.Upper("short"),
    "joined": lambda: functions.Concat("short", Value(", 100%"), "email", output_field=TEXT),
    "size": lambda: functions.Length("text"),
    "some": lambda: functions.Coalesce("text", Value("none"), output_field=TEXT),
    "again": lambda: F("moment"),
    "name_of": lambda: F("customer__name"),
    "double": lambda: F("small") * 2 - 1,
    "constant": lambda: Value("a,'\"\\%"),
    "minus": lambda: Value(-5),
    "year": lambda: functions.ExtractYear("day"),
    "month": lambda: functions.TruncMonth("day"),
    "half": lambda: F("amount") / 7,
    "as_text": lambda: functions.Cast("big", TEXT),
}


def make_queryset(chance: random.Random) -> QuerySet[Any]:
    """Return a random queryset, which the database may refuse."""
    model = chance.choice([Specimen, Specimen, SortedSpecimen])
    queryset, names = _with_columns(chance, model.objects.all())
    ordering = _ordering(chance, names)
    if ordering:
        queryset = queryset.order_by(*ordering)
    queryset = _as_rows(chance, queryset, names)
    if chance.random() < 0.3:
        queryset = queryset.distinct()
    if connection.vendor == "postgresql" and chance.random() < 0.1:
        queryset = queryset.order_by(names[0], "pk").distinct(names[0])
    if chance.random() < 0.1:
        other = _as_rows(chance, Specimen.objects.order_by(), names[:1] * len(names))
        return queryset.union(other, all=chance.random() < 0.5)
    if ordering and chance.random() < 0.3:
        return queryset[chance.randrange(3) : chance.randrange(3, 20)]
    return queryset


#: Columns whose values can have labels in the statement.
LABELLED: Final = ("integer", "big", "small", "flag", "text", "short", "slug", "email", "choice")

LABELS: Final = ("", "Größe", 'a "b", c', "=1", "100%", "%s", "it's", "\\n", "\r\n", "x;@y", " ")


def make_labels(chance: random.Random, queryset: QuerySet[Any]) -> list[dict[Any, str] | None]:
    """Return random labels of some values of some columns."""
    labels: list[dict[Any, str] | None] = []
    for name in SelectedColumns(queryset).names:
        values = [None, "no such value", 2**70, *VALUES.get(name, ())]
        some = name in LABELLED and chance.random() < 0.7
        keys = chance.sample(values, chance.randrange(1, min(6, len(values) + 1))) if some else []
        labels.append({key: chance.choice(LABELS) for key in keys} or None)
    return labels


def _with_columns(
    chance: random.Random, queryset: QuerySet[Any]
) -> tuple[QuerySet[Any], list[str]]:
    """Return a queryset with annotations, and the names of the columns to select."""
    names = chance.sample(FIELDS, chance.choice([1, 1, 2, 3, 7]))
    if chance.random() < 0.6:
        names = [name for name in names if name not in ODD] or ["text"]
    if chance.random() < 0.3:
        queryset = queryset.filter(pk__gte=0, short__in=VALUES["short"])
    if chance.random() < 0.2:
        queryset = queryset.values(*chance.sample(names, 1))
    for name in chance.sample(sorted(ANNOTATIONS), chance.choice([0, 0, 1, 2])):
        queryset = queryset.annotate(**{name: ANNOTATIONS[name]()})
        names.insert(chance.randrange(len(names) + 1), name)
    if chance.random() < 0.1:
        queryset = queryset.extra(select={"extra": "1 + 1"})
        names.append("extra")
    return queryset, names


def _ordering(chance: random.Random, names: list[str]) -> tuple[Any, ...]:
    """Return an ordering; it is total unless it uses only selected columns."""
    by_one = chance.choice(["-email", "slug", "customer__name", "-moment"])
    return chance.choice(
        [
            (),
            tuple(names),
            ("pk",),
            (by_one, "pk"),
            (F("amount").desc(nulls_last=True), "-pk"),
            (functions.Lower("text"), "pk"),
        ]
    )


def _as_rows(chance: random.Random, queryset: QuerySet[Any], names: list[str]) -> QuerySet[Any]:
    if len(names) == 1 and chance.random() < 0.3:
        return queryset.values_list(names[0], flat=True)
    named = len(set(names)) == len(names) and chance.random() < 0.1
    return queryset.values_list(*names, named=named)
