"""Columns with another type than their field's, and values that Python's types cannot hold."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

import pytest
from django.db import connection, models
from django.test.utils import isolate_apps

from async_downloads import db_csv
from tests.db_csv.test_differential import fast_path, row_path

pytestmark = pytest.mark.django_db(transaction=True, available_apps=["tests.shop"])

TABLE: Final = "shop_odd"

#: Field, type of the column, values, and whether the database must make the CSV.
Case = tuple[models.Field[Any, Any], str, list[str], bool]

CHAR: Final = models.CharField(max_length=100)
DATES: Final = ["DATE '0001-01-01'", "DATE '9999-12-31'", "NULL"]

POSTGRES: Final[dict[str, Case]] = {
    "an address": (
        models.GenericIPAddressField(),
        "inet",
        ["'10.0.0.1'", "'10.0.0.0/8'", "'::1'", "NULL"],
        True,
    ),
    "a network": (CHAR, "cidr", ["'10.0.0.0/8'", "'10.0.0.1/32'"], True),
    "days": (models.DateField(), "date", DATES, True),
    "an infinite day": (models.DateField(), "date", ["'infinity'", *DATES], True),
    "the first infinite day": (models.DateField(), "date", [*DATES, "'-infinity'"], True),
    "a day before Christ": (models.DateField(), "date", ["'0044-03-15 BC'"], True),
    "a day of the year 10000": (models.DateField(), "date", ["'10000-01-01'"], True),
    "an infinite moment": (models.DateTimeField(), "timestamptz", ["'infinity'", "now()"], True),
    "a moment before Christ": (models.DateTimeField(), "timestamptz", ["'0044-03-15 BC'"], True),
    "a moment of the year 10000": (
        models.DateTimeField(),
        "timestamptz",
        ["'10000-01-01 00:00:00+00'"],
        True,
    ),
    "the last moment": (
        models.DateTimeField(),
        "timestamptz",
        [
            "'9999-12-31 23:59:59.999999+00'",
            "'0001-01-01 00:00:00+00'",
            "'2026-01-01 00:00:00.1+00'",
        ],
        True,
    ),
    "a moment without a zone": (
        models.DateTimeField(),
        "timestamp",
        ["'2026-01-01'", "'2026-01-01 00:00:00.5'", "NULL"],
        True,
    ),
    "an infinite moment without a zone": (
        models.DateTimeField(),
        "timestamp",
        ["'infinity'"],
        True,
    ),
    "a moment of whole seconds": (models.DateTimeField(), "timestamptz(0)", ["now()"], True),
    "a time": (models.TimeField(), "time", ["'00:00'", "'23:59:59.999999'", "'1:02:03.4'"], True),
    "the time 24:00": (models.TimeField(), "time", ["'24:00'", "'12:00'"], True),
    "a time with a zone": (models.TimeField(), "timetz", ["'12:00+02'", "'12:00:00.5+00'"], False),
    "text with blanks": (CHAR, "char(5)", ["'ab'", "'     '", "'=1'", "NULL"], False),
    "text of any length": (CHAR, "text", ["''", "'a'", "E'\\r'", "NULL"], True),
    "text in another order": (
        CHAR,
        'varchar(10) COLLATE "de-x-icu"',
        ["''", "'ä'", "'=1'", "NULL"],
        True,
    ),
    "text of which some is alike": (CHAR, "alike_text", ["''", "E'\\u200b'", "'A'"], True),
    "a domain": (CHAR, "odd_domain", ["'a'", "NULL"], True),
    "an enumeration": (CHAR, "odd_enum", ["'a'", "'b,c'", "NULL"], False),
    "a list": (CHAR, "text[]", ["'{a,b}'", "'{}'", "NULL"], False),
    "numbers of a list": (models.IntegerField(), "int[]", ["'{1,2}'"], False),
    "a number for a truth": (models.BooleanField(), "integer", ["0", "1", "7", "NULL"], True),
    "a truth for a number": (models.IntegerField(), "boolean", ["true", "false", "NULL"], True),
    "a number for text": (CHAR, "integer", ["0", "-5", "NULL"], True),
    "text for a number": (models.IntegerField(), "varchar(9)", ["'-5'", "''", "'=1'"], True),
    "text for a truth": (models.BooleanField(), "text", ["'t'", "''"], True),
    "text for a day": (models.DateField(), "text", ["'2026-01-01'", "'soon'"], True),
    "a day for text": (CHAR, "date", DATES, True),
    "an id as text": (models.UUIDField(), "char(32)", [f"'{'0' * 31}a'", "NULL"], False),
    "a decimal without bounds": (
        models.DecimalField(max_digits=9, decimal_places=2),
        "numeric",
        [
            *("0", "0.000000", "0.0000000", "0.00000010", "-0.00000012", "0.0000001234567890"),
            *("1e-20", "1e30", "-1.10", "0.000001", "0.0000010", "-0.00000099", "NULL"),
            *("'NaN'", "'Infinity'", "'-Infinity'", "123456789.123456789"),
        ],
        True,
    ),
    "many decimal places": (
        models.DecimalField(max_digits=20, decimal_places=10),
        "numeric(20, 10)",
        ["0", "0.0000000001", "-0.0000012", "-0.0000001", "1234567890.5", "'NaN'"],
        True,
    ),
    "places before the point": (
        models.DecimalField(max_digits=9, decimal_places=0),
        "numeric(3, -2)",
        ["0", "1234", "-99949"],
        True,
    ),
    "a decimal for a number": (models.IntegerField(), "numeric(9, 2)", ["1.50", "0"], True),
    "money": (models.DecimalField(max_digits=9, decimal_places=2), "money", ["1234.5"], False),
    "a float for a decimal": (
        models.DecimalField(max_digits=9, decimal_places=2),
        "float8",
        ["0.1", "1e20", "'NaN'"],
        False,
    ),
    "a short float": (models.FloatField(), "float4", ["0.1", "'-Infinity'"], False),
    "a span": (models.DurationField(), "interval", ["'1 month'", "'-1 day 00:00:00.5'"], False),
    "bits": (CHAR, "bit(3)", ["B'101'"], False),
    "a range": (CHAR, "int4range", ["'[1,5)'", "'empty'"], False),
    "JSON": (models.JSONField(), "jsonb", ["'{\"a\": 1}'", "'null'", "NULL"], False),
    "JSON for text": (CHAR, "json", ["'{\"a\": 1}'", "'[]'"], False),
    "bytes": (models.BinaryField(), "bytea", ["'\\x00ff'", "''", "NULL"], False),
    "one character": (CHAR, '"char"', ["'a'", "''"], False),
}

MYSQL: Final[dict[str, Case]] = {
    name: (field, kind, values, True)
    for name, (field, kind, values) in {
        "days that are none": (
            models.DateField(),
            "date",
            [
                "'0000-00-00'",
                "'2026-00-10'",
                "'2026-02-00'",
                "'2024-02-29'",
                "'0001-01-01'",
                "NULL",
            ],
        ),
        "the 31st of February": (models.DateField(), "date", ["'2026-02-31'", "'2026-02-29'"]),
        "moments that are none": (
            models.DateTimeField(),
            "datetime(6)",
            [
                "'0000-00-00'",
                "'2026-00-10 01:02:03'",
                "'9999-12-31 23:59:59.999999'",
                "'0001-01-01'",
            ],
        ),
        "moments of tenths": (
            models.DateTimeField(),
            "datetime(1)",
            ["'2026-01-01'", "'2026-01-01 00:00:00.5'", "'2024-02-29 01:01:01.1'"],
        ),
        "whole moments": (models.DateTimeField(), "datetime", ["'2026-01-01'", "NULL"]),
        "stamps": (models.DateTimeField(), "timestamp(6) NULL", ["'2026-01-01'", "0", "NULL"]),
        "a day for a moment": (models.DateTimeField(), "date", ["'2026-01-01'", "NULL"]),
        "a moment for a day": (models.DateField(), "datetime(6)", ["'2026-01-01 10:00'", "NULL"]),
        "text for a moment": (models.DateTimeField(), "varchar(30)", ["NULL", "'2026-01-01'"]),
        "more than a day": (models.TimeField(), "time(6)", ["'30:00:00'"]),
        "less than nothing": (models.TimeField(), "time(6)", ["'-01:00:00'"]),
        "times": (models.TimeField(), "time(3)", ["'23:59:59.999'", "'0:0:0'", "NULL"]),
        "a year": (models.IntegerField(), "year", ["2026", "0", "NULL"]),
        "bits": (models.IntegerField(), "bit(9)", ["b'101'", "NULL"]),
        "a bit for a truth": (models.BooleanField(), "bit(1)", ["b'1'", "b'0'"]),
        "a number for a truth": (models.BooleanField(), "int", ["0", "1", "7", "NULL"]),
        "text for a truth": (models.BooleanField(), "varchar(9)", ["'1'", "''"]),
        "numbers with zeros": (models.IntegerField(), "int(8) zerofill", ["42", "NULL"]),
        "decimals with zeros": (
            models.DecimalField(max_digits=9, decimal_places=2),
            "decimal(9, 2) zerofill",
            ["12.5", "0", "NULL"],
        ),
        "both kinds of decimals": (
            models.DecimalField(max_digits=20, decimal_places=10),
            "decimal(20, 10)",
            ["0", "0.0000000001", "-0.0000012", "1234567890.5"],
        ),
        "a float for a decimal": (
            models.DecimalField(max_digits=9, decimal_places=2),
            "double",
            ["0.1", "1e20"],
        ),
        "a short float": (models.FloatField(), "float", ["0.1", "1e10"]),
        "an id as text": (models.UUIDField(), "char(32)", [f"'{'0' * 31}a'", "NULL"]),
        "no id": (models.UUIDField(), "char(32)", ["'no'", "NULL"]),
        "an id of the database's": (
            models.UUIDField(),
            "uuid",
            ["'01234567-89ab-4def-8123-456789abcdef'", "NULL"],
        ),
        "an enumeration": (CHAR, "enum('a', 'b,c', '')", ["'a'", "'b,c'", "''", "NULL"]),
        "a set": (CHAR, "set('a', 'b')", ["'a,b'", "''"]),
        "JSON": (models.JSONField(), "json", ["'{\"a\": 1}'", "'null'", "NULL"]),
        "an address": (models.GenericIPAddressField(), "inet6", ["'::1'", "NULL"]),
        "text with blanks": (CHAR, "char(5)", ["'ab '", "''", "'=1'", "NULL"]),
        "bytes for text": (CHAR, "varbinary(9)", ["x'00ff'", "''"]),
        "text of one byte": (CHAR, "varchar(9) CHARACTER SET latin1", ["'é'", "'\\r'", "''"]),
        "a place": (CHAR, "point", ["POINT(1, 2)", "NULL"]),
        "numbers beyond": (models.BigIntegerField(), "bigint unsigned", ["18446744073709551615"]),
    }.items()
}

SQLITE: Final[dict[str, Case]] = {
    "text for a day": (models.DateField(), "text", ["'2026-01-01'", "'soon'", "NULL"], False),
    "a day for text": (CHAR, "date", ["'2026-01-01'", "NULL"], False),
    "a day": (
        models.DateField(),
        "date",
        ["'2026-01-01'", "'9999-12-31'", "'0001-01-01'", "NULL"],
        True,
    ),
    "the 31st of February": (models.DateField(), "date", ["'2026-02-31'"], True),
    "the 39th": (models.DateField(), "date", ["'2026-01-39'"], True),
    "the year 0": (models.DateField(), "date", ["'0000-01-01'"], True),
    "the month 19": (models.DateTimeField(), "datetime", ["'2026-19-01 00:00:00'"], True),
    "the hour 29": (models.DateTimeField(), "datetime", ["'2026-01-01 29:00:00'"], True),
    "moments": (
        models.DateTimeField(),
        "datetime",
        [
            *("'2026-01-01 10:00:00'", "'2026-01-01 10:00:00.999999'", "'2026-01-01'"),
            *("'2026-01-01 10:00:00+00:00'", "'2026-01-01T10:00:00Z'", "'2026-01-01 10:00'"),
        ],
        True,
    ),
    "a stamp": (models.DateTimeField(), "timestamp", ["'2026-01-01 10:00:00'", "NULL"], True),
    "a moment as a number": (models.DateTimeField(), "datetime", ["1767225600"], True),
    "the time 24:00": (models.TimeField(), "time", ["'24:00:00'"], True),
    "times": (models.TimeField(), "time", ["'23:59:59.999999'", "'00:00:00'", "'1:2'"], True),
    "text for a decimal": (
        models.DecimalField(max_digits=9, decimal_places=2),
        "text",
        ["'1.50'", "'1.5'"],
        True,
    ),
    "decimals": (
        models.DecimalField(max_digits=9, decimal_places=2),
        "decimal",
        ["1.5", "-0.0", "0", "0.125", "9999999.99", "1e-9", "NULL"],
        True,
    ),
    "decimals beyond": (
        models.DecimalField(max_digits=9, decimal_places=2),
        "decimal",
        ["12345678901.5"],
        True,
    ),
    "decimals of many places": (
        models.DecimalField(max_digits=14, decimal_places=10),
        "decimal",
        ["1e-10", "1e-7", "0.000001", "-0.00000012", "-0.000001", "0", "0.1234567891", "1234.5"],
        True,
    ),
    "text for a truth": (models.BooleanField(), "text", ["'1'", "'0'", "''"], False),
    "truths": (models.BooleanField(), "bool", ["1", "0", "7", "'yes'", "0.5", "NULL"], True),
    "numbers beyond": (
        models.IntegerField(),
        "integer",
        ["9223372036854775808", "'x'", "''"],
        True,
    ),
    "text of all kinds": (
        CHAR,
        "varchar(9)",
        ["1", "1.5", "x'41'", "'a' || char(0) || ','", "'\\.'", "char(13)", "''", "NULL"],
        True,
    ),
    "text that is not": (CHAR, "varchar(9)", ["CAST(x'ff' AS TEXT)"], True),
    "no type at all": (CHAR, "", ["1", "'a'", "x'3d'", "'=1'"], True),
    "ids": (
        models.UUIDField(),
        "char(32)",
        [f"'{'0' * 31}a'", f"'{'0' * 31}A'", "'01234567-89ab-4def-8123-456789abcdef'", "NULL"],
        True,
    ),
    "no id": (models.UUIDField(), "char(32)", ["'no'"], True),
    "floats": (models.FloatField(), "real", ["9e999", "1", "1e16", "'x'", "NULL"], True),
    "bytes": (models.BinaryField(), "blob", ["x'fbff'", "'text'", "''", "NULL"], True),
    "spans": (models.DurationField(), "bigint", ["1", "-1", "NULL"], True),
}

CASES: Final = {"postgresql": POSTGRES, "mysql": MYSQL, "sqlite": SQLITE}[connection.vendor]

BEFORE: Final = {
    "postgresql": [
        "CREATE COLLATION alike"
        " (provider = icu, locale = 'und-u-ks-level1', deterministic = false)",
        "CREATE DOMAIN alike_text AS text COLLATE alike",
        "CREATE DOMAIN odd_domain AS varchar(9)",
        "CREATE TYPE odd_enum AS ENUM ('a', 'b,c')",
    ],
    "mysql": ["SET sql_mode = 'ALLOW_INVALID_DATES'"],
    "sqlite": [],
}[connection.vendor]

AFTER: Final = {
    "postgresql": [
        "DROP DOMAIN IF EXISTS alike_text, odd_domain",
        "DROP COLLATION IF EXISTS alike",
        "DROP TYPE IF EXISTS odd_enum",
    ],
    "mysql": [],
    "sqlite": [],
}[connection.vendor]


@contextmanager
def table(kind: str, values: list[str]) -> Iterator[None]:
    """Create a table with a column of a type, for the time of the context."""
    with connection.cursor() as cursor:
        for statement in (f"DROP TABLE IF EXISTS {TABLE}", *AFTER, *BEFORE):
            cursor.execute(statement)
        cursor.execute(f"CREATE TABLE {TABLE} (id integer, value {kind}, other varchar(9))")
        for number, value in enumerate([*values, values[0]]):
            other = "''" if number % 2 else "'b,'"
            cursor.execute(f"INSERT INTO {TABLE} VALUES ({number}, {value}, {other})")  # noqa: S608
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            for statement in (f"DROP TABLE {TABLE}", *AFTER):
                cursor.execute(statement)
        # A new connection resets the settings of the session.
        connection.close()


@isolate_apps("tests.shop")
def model_of(field: models.Field[Any, Any]) -> Any:
    """Return a model whose field need not have the type of the column."""

    class Odd(models.Model):
        id = models.IntegerField(primary_key=True)
        value = field.clone()
        other = models.CharField(max_length=9)

        class Meta:
            app_label = "shop"
            db_table = TABLE
            ordering = ("other", "id")

        def __str__(self) -> str:
            return str(self.pk)

    return Odd


@pytest.mark.parametrize("name", CASES)
def test_the_type_of_the_column_decides_and_not_the_field(name: str) -> None:
    field, kind, values, is_fast = CASES[name]
    rows = cast("Any", model_of(field))._default_manager
    querysets = {
        "alone": rows.values_list("value"),
        "scalars": rows.order_by("id").values_list("value", flat=True),
        "in company": rows.order_by("-id").values_list("id", "value", "other"),
        "twice": rows.order_by("id").values_list("value", "value"),
        "distinct": rows.order_by().values_list("value").distinct(),
        "distinct, by another": rows.distinct().values_list("value"),
        "sliced": rows.order_by("id").values_list("value", "id")[1:3],
        "extreme": rows.order_by()
        .values_list("other")
        .annotate(models.Max("value"))
        .order_by("other"),
    }
    with table(kind, values):
        for shape, queryset in querysets.items():
            for escape in (False, True):
                ours = fast_path(queryset, escape=escape)
                theirs = row_path(queryset, escape=escape)
                if shape == "distinct" and isinstance(ours, bytes) and isinstance(theirs, bytes):
                    assert sorted(ours.splitlines()) == sorted(theirs.splitlines()), shape
                else:
                    assert ours in (None, theirs), shape
        if hasattr(connection.Database, "ClientCursor") or connection.vendor != "postgresql":
            assert (db_csv.writer_for(querysets["alone"]) is not None) == is_fast
