"""CSV made by the database, compared with the row path."""

import csv
import io
import uuid
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, connections, models, transaction
from django.db.models import F, Max, Min, QuerySet, Sum, Value, functions
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from async_downloads import db_csv
from async_downloads.exceptions import DownloadCancelled, DownloadError
from async_downloads.formats import csv as formats_csv
from async_downloads.formats.rows import is_flat
from tests.shop.models import Customer, Order, SortedSpecimen, Specimen

VENDOR = connection.vendor
postgres = pytest.mark.skipif(VENDOR != "postgresql", reason="PostgreSQL only")
sqlite = pytest.mark.skipif(VENDOR != "sqlite", reason="SQLite only")
mysql = pytest.mark.skipif(VENDOR != "mysql", reason="MariaDB only")

# Outside a transaction, PostgreSQL copies and MariaDB streams. To empty the tables of every
# app would take longer than a test.
pytestmark = pytest.mark.django_db(
    transaction=True, databases=["default", "elsewhere"], available_apps=["tests.shop"]
)

FIELDS = [field.attname for field in Specimen._meta.concrete_fields]

#: The fields for which the database makes no CSV.
WITHOUT_TEXT: set[str] = {
    "sqlite": {"data"},
    "postgresql": {"data", "blob", "span", "ratio"},
    "mysql": set(),
}[VENDOR]

#: Whether all rows of the driver take the row path.
OLD_DRIVER = VENDOR == "postgresql" and not hasattr(connection.Database, "ClientCursor")

fast = pytest.mark.skipif(OLD_DRIVER, reason="psycopg2 accepts values that psycopg 3 refuses")

PRINTED = [name for name in FIELDS if name not in WITHOUT_TEXT]


def nothing(rows: int) -> None:
    """Take the number of rows, and do nothing."""


def ours(queryset: QuerySet[Any], *, escape: bool = False, encoding: str = "utf-8") -> bytes:
    write_rows = db_csv.writer_for(queryset, escape_formulas=escape)
    assert write_rows is not None
    stream = io.BytesIO()
    rows = write_rows(stream, encoding, nothing)
    # Not count(): with extra columns, Django makes a wrong statement for it.
    assert rows == len(list(queryset))
    return stream.getvalue()


def parsed(content: bytes, encoding: str = "utf-8") -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(encoding), newline="")))


def theirs(queryset: QuerySet[Any], *, escape: bool = False) -> bytes:
    stream = io.BytesIO()
    found: Any = queryset.iterator(chunk_size=2000)
    formats_csv.write(zip(found) if is_flat(queryset) else found, stream, escape_formulas=escape)
    return stream.getvalue()


def assert_same(queryset: QuerySet[Any], *, escape: bool = False) -> None:
    assert ours(queryset, escape=escape) == theirs(queryset, escape=escape)


signs = st.one_of(
    st.sampled_from(",\"\n\r\t=+-@ ;'\\\uff1d\uff0b\uff0d\uff20\u00e9\u540d\U0001f642.0%_{}"),
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"),
)
texts = st.one_of(st.sampled_from(["", "\\.", "NULL", "a,b", '"', "\r=", "\r\n="]), st.text(signs))
moments = st.one_of(
    st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 30), timezones=st.just(UTC)),  # noqa: DTZ001
    st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 30), timezones=st.just(UTC)).map(  # noqa: DTZ001
        lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    ),
    st.just(datetime(2026, 1, 31, tzinfo=UTC)),
)


def decimals(digits: int, places: int) -> st.SearchStrategy[Decimal]:
    most = 10**digits - 1
    return st.one_of(st.integers(-most, most), st.integers(-(10**places) * 2, 10**places * 2)).map(
        lambda number: Decimal(number).scaleb(-places)
    )


specimens = st.builds(
    Specimen,
    **{
        name: st.none() | strategy
        for name, strategy in {
            "integer": st.integers(-(2**31), 2**31 - 1),
            "big": st.integers(-(2**63), 2**63 - 1),
            "small": st.integers(0, 32767),
            "flag": st.booleans(),
            "amount": decimals(12, 2),
            "precise": decimals(15, 6),
            "ratio": st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False),
            "text": texts,
            "short": st.text(signs, max_size=50),
            "day": st.dates(date(1000, 1, 1)),
            "moment": moments,
            "clock": st.times() | st.sampled_from([time(0), time(1, 2, 3, 40)]),
            "span": st.timedeltas(timedelta(days=-(10**6)), timedelta(days=10**6)),
            "uid": st.uuids(version=4),
            "address": st.ip_addresses().map(str),
            "blob": st.binary(max_size=20),
        }.items()
    },
)


@fast
@given(made=st.lists(specimens, min_size=1, max_size=6), escape=st.booleans())
@settings(
    max_examples=60,
    # Each example inserts a few rows, so shrinking would take minutes.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_each_kind_of_field_is_printed_as_the_row_path_prints_it(
    made: list[Specimen], escape: bool
) -> None:
    Specimen.objects.all().delete()
    Specimen.objects.bulk_create(made)
    rows = Specimen.objects.order_by("pk").values_list(*PRINTED)
    assert_same(rows, escape=escape)
    if VENDOR != "mysql":
        with transaction.atomic():
            assert ours(rows, escape=escape) == theirs(rows, escape=escape)


@pytest.fixture
def shop() -> list[Order]:
    ada, grace = (Customer.objects.create(name=name) for name in ('Ada, "A"', "=Grace"))
    return [
        Order.objects.create(
            customer=(ada, grace)[number % 2],
            reference=f"R{number:03}",
            total=Decimal(number * 7) / 4,
            status=("open", "", "-paid")[number % 3],
        )
        for number in range(25)
    ]


@fast
@pytest.mark.parametrize("name", PRINTED)
def test_a_single_column_prints_empty_cells_in_quotes(name: str) -> None:
    Specimen.objects.bulk_create(
        [
            Specimen(),
            Specimen(text="", short="", blob=b""),
            Specimen(text="x", flag=True, amount=Decimal(0), clock=time(1), span=timedelta(0)),
        ]
    )
    assert_same(Specimen.objects.order_by("pk").values_list(name))


SHAPES: dict[str, Callable[[], QuerySet[Any]]] = {
    "relations": lambda: Order.objects.order_by("-pk").values_list(
        "customer__name", "customer", "customer_id", "reference", "total"
    ),
    "all columns": lambda: Order.objects.order_by("pk").values_list(),
    "named": lambda: Order.objects.order_by("pk").values_list("pk", "total", named=True),
    "sliced": lambda: Order.objects.order_by("total").values_list("total", "status")[3:12],
    "distinct": lambda: Order.objects.values_list("status").distinct(),
    "distinct, by another": lambda: (
        Order.objects.order_by("total").values_list("status", "total").distinct()
    ),
    "the same twice": lambda: Order.objects.order_by("pk").values_list("total", "pk", "total"),
    "counted": lambda: (
        Customer.objects.order_by("name")
        .annotate(number=models.Count("orders"))
        .values_list("name", "number")
    ),
    "counted, ordered by it": lambda: (
        Order.objects.values("status")
        .annotate(number=models.Count("pk"))
        .order_by("-number", "status")
        .values_list("number", "status")
    ),
    "extremes": lambda: (
        Order.objects.values("status")
        .annotate(least=Min("total"), most=Max("reference"), sum=Sum("total"), of=Sum("pk"))
        .order_by("status")
        .values_list("status", "least", "most", "sum", "of")
    ),
    "renamed": lambda: (
        Order.objects.annotate(price=F("total"), who=F("customer__name"))
        .order_by("price", "pk")
        .values_list("who", "price")
    ),
    "values": lambda: (
        Order.objects.annotate(x=Value("a,'%s\"\\"), y=Value(-5))
        .order_by("pk")
        .values_list("x", "pk", "y")
    ),
    "functions": lambda: (
        Order.objects.annotate(
            name=functions.Concat(F("status"), Value(" – 100%, "), F("customer__name")),
            loud=functions.Upper("status"),
            size=functions.Length("customer__name"),
            twice=F("pk") * 2 + 1,
        )
        .order_by("loud", "pk")
        .values_list("name", "loud", "size", "twice")
    ),
    "filtered with parameters": lambda: (
        Order.objects.filter(customer__name__contains='"A"', status__in=["open", "100%"])
        .order_by("pk")
        .values_list("total", "customer__name")
    ),
    "ordered by what is not selected": lambda: Order.objects.order_by(
        "-customer__name", "pk"
    ).values_list("status", "total"),
    "distinct, by what is not selected": lambda: (
        Order.objects.distinct().order_by("total").values_list("status", "reference")
    ),
    "distinct, by its model's order": lambda: SortedSpecimen.objects.distinct().values_list(
        "short", "slug"
    ),
    "scalars": lambda: Order.objects.order_by("pk").values_list("status", flat=True),
    "nothing found": lambda: Order.objects.filter(total__lt=-1).values_list("pk", "total"),
    "nothing to find": lambda: Order.objects.none().values_list("pk", "total"),
    "no value possible": lambda: Order.objects.filter(pk__in=[]).values_list("pk", "total"),
}


@fast
@pytest.mark.parametrize("escape", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_each_shape_of_a_query_gives_the_bytes_of_the_row_path(
    shop: list[Order], shape: str, escape: bool
) -> None:
    assert_same(SHAPES[shape](), escape=escape)


class OwnText(models.TextField):
    """A subclass that might print anything."""


class OwnQuerySet(QuerySet):
    """A queryset that makes its own rows."""

    def iterator(self, chunk_size: int | None = None) -> Iterator[Any]:
        return iter([("own",)])


FALLS_BACK: dict[str, Callable[[], object]] = {
    "rows": lambda: [("a", 1)],
    "nothing": lambda: None,
    "a generator": lambda: (row for row in [("a",)]),
    "instances": lambda: Order.objects.all(),
    "dictionaries": lambda: Order.objects.values("pk"),
    "a raw query": lambda: Order.objects.raw("SELECT * FROM shop_order"),
    "a queryset of a site's own": lambda: OwnQuerySet(Order).values_list("pk"),
    "what Django leaves out of flat rows": lambda: Order.objects.values_list(
        "status", flat=True
    ).annotate(number=models.Count("pk")),
    "what it leaves out, of a union": lambda: (
        Order.objects.all()
        .union(Order.objects.all())
        .order_by("pk")
        .values_list("reference", flat=True)
    ),
    "a locked row": lambda: Order.objects.select_for_update().values_list("pk"),
}

#: Querysets whose values MariaDB's driver converts in any case.
FALLS_BACK_ELSEWHERE: dict[str, Callable[[], object]] = {
    "an unknown function": lambda: Order.objects.annotate(
        x=models.Func(F("status"), function="LOWER", output_field=models.IntegerField())
    ).values_list("x"),
    "JSON": lambda: Specimen.objects.values_list("data"),
    "a key of JSON": lambda: Specimen.objects.values_list("data__key"),
}


def a_union() -> QuerySet[Any]:
    return Order.objects.values_list("pk").union(Customer.objects.values_list("pk"))


#: Querysets for which the described types of the columns decide.
FALLS_BACK_ON_SQLITE: dict[str, Callable[[], QuerySet[Any]]] = {
    "extra columns": lambda: Order.objects.extra(select={"x": "1"}).values_list("x", "pk"),
    "a field of a site's own": lambda: Order.objects.annotate(
        x=models.ExpressionWrapper(F("status"), output_field=OwnText())
    ).values_list("x"),
    "a truth": lambda: Order.objects.annotate(x=models.Q(total=1)).values_list("x"),
}


@pytest.mark.parametrize("name", FALLS_BACK)
def test_a_queryset_that_changes_its_rows_takes_the_row_path(name: str) -> None:
    assert db_csv.writer_for(FALLS_BACK[name]()) is None


@pytest.mark.skipif(VENDOR == "mysql", reason="MariaDB's driver makes values of them")
@pytest.mark.parametrize("name", FALLS_BACK_ELSEWHERE)
def test_an_unknown_column_takes_the_row_path(name: str) -> None:
    assert db_csv.writer_for(FALLS_BACK_ELSEWHERE[name]()) is None


@fast
@pytest.mark.parametrize("name", FALLS_BACK_ON_SQLITE)
def test_the_columns_that_a_database_describes_are_enough(shop: list[Order], name: str) -> None:
    queryset = FALLS_BACK_ON_SQLITE[name]()
    if VENDOR == "sqlite":
        assert db_csv.writer_for(queryset) is None
    else:
        assert sorted(parsed(ours(queryset))) == sorted(parsed(theirs(queryset)))


@fast
def test_a_union_is_printed_if_the_database_describes_its_columns(
    shop: list[Order],
) -> None:
    if VENDOR == "postgresql":
        assert sorted(parsed(ours(a_union()))) == sorted(parsed(theirs(a_union())))
    else:
        assert db_csv.writer_for(a_union()) is None


@pytest.mark.parametrize("name", sorted(WITHOUT_TEXT))
def test_one_unknown_field_makes_the_whole_export_take_the_row_path(name: str) -> None:
    assert db_csv.writer_for(Specimen.objects.values_list("pk", name)) is None


@fast
def test_moments_are_naive_without_time_zones(settings: Any) -> None:
    settings.USE_TZ = False
    settings.TIME_ZONE = "Europe/Berlin"
    Specimen.objects.bulk_create(
        [
            Specimen(moment=datetime(2026, 7, 1, 12, 30)),  # noqa: DTZ001
            Specimen(moment=datetime(2026, 1, 1, 0, 0, 0, 500)),  # noqa: DTZ001
            Specimen(),
        ]
    )
    rows = Specimen.objects.order_by("pk").values_list("moment", "pk")
    if VENDOR == "postgresql":
        # The database and Python may have different versions of the time zone database.
        assert db_csv.writer_for(rows) is None
        return
    assert_same(rows)
    assert b"2026-07-01 12:30:00," in ours(rows)


@fast
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_any_encoding_is_written_as_the_row_path_writes_it(encoding: str) -> None:
    Customer.objects.create(name="Zoë, ½")
    rows = Customer.objects.values_list("name", "pk")
    stream = io.BytesIO()
    formats_csv.write(rows.iterator(), stream, encoding=encoding)
    assert ours(rows, encoding=encoding) == stream.getvalue()


@fast
def test_a_character_that_the_encoding_lacks_is_an_error_with_its_row() -> None:
    Customer.objects.bulk_create([Customer(name=name) for name in ("a", "b", "名", "c")])
    write_rows = db_csv.writer_for(Customer.objects.order_by("pk").values_list("name", "pk"))
    assert write_rows is not None
    with pytest.raises(DownloadError, match=r"^Row 3 has a character that latin-1 cannot"):
        write_rows(io.BytesIO(), "latin-1", nothing)
    assert Customer.objects.count() == 4


@fast
@pytest.mark.parametrize("inside", [False, True])
def test_reports_may_make_queries_and_a_cancellation_leaves_the_connection_usable(
    inside: bool,
) -> None:
    if inside and VENDOR == "mysql":
        pytest.skip("MariaDB makes no CSV inside a transaction")
    Customer.objects.bulk_create([Customer(name=f"n{number}") for number in range(5000)])
    seen = []

    def report(rows: int) -> None:
        seen.append((rows, Customer.objects.count()))
        if rows >= 2000:
            raise DownloadCancelled

    with transaction.atomic() if inside else nullcontext():
        write_rows = db_csv.writer_for(Customer.objects.order_by("pk").values_list("pk", "name"))
        assert write_rows is not None
        with pytest.raises(DownloadCancelled):
            write_rows(io.BytesIO(), "utf-8", report)
        assert [row for row, _ in seen] == sorted({row for row, _ in seen})
        assert seen[-1] == (2000, 5000)
        assert Customer.objects.count() == 5000
    # The original connection is in its place again.
    assert connections["default"] is connection._connections[connection._alias]  # type: ignore[attr-defined]
    assert len(parsed(ours(Customer.objects.values_list("pk", "name")))) == 5000


@fast
@postgres
def test_copy_needs_no_server_side_cursor(shop: list[Order], monkeypatch: Any) -> None:
    monkeypatch.setitem(connection.settings_dict, "DISABLE_SERVER_SIDE_CURSORS", True)
    rows = Order.objects.order_by("pk").values_list("pk", "total")
    assert_same(rows)
    with transaction.atomic():
        assert db_csv.writer_for(rows) is None


@fast
@postgres
def test_a_pool_gives_no_second_connection(shop: list[Order]) -> None:
    pytest.importorskip("psycopg_pool")
    usual, pooled = connections["default"], connection.copy()
    pooled.settings_dict["OPTIONS"] = {"pool": {"min_size": 1, "max_size": 1, "timeout": 0.5}}
    connections["default"] = pooled
    seen: list[int] = []
    try:
        write_rows = db_csv.writer_for(Order.objects.values_list("pk", "total"))
        assert write_rows is not None
        write_rows(io.BytesIO(), "utf-8", lambda _rows: seen.append(Order.objects.count()))
    finally:
        pooled.close()
        pooled.close_pool()
        connections["default"] = usual
    assert seen == [len(shop)]


@fast
@postgres
@pytest.mark.parametrize(
    ("statement", "question"),
    [
        ("SET search_path TO elsewhere, public", "SHOW search_path"),
        ("SET ROLE pg_monitor", "SELECT current_user"),
    ],
)
def test_reports_see_the_tables_of_the_session(
    shop: list[Order], statement: str, question: str
) -> None:
    def answer() -> Any:
        with connections["default"].cursor() as cursor:
            cursor.execute(question)
            return cursor.fetchone()

    seen: list[Any] = []
    try:
        with connection.cursor() as cursor:
            cursor.execute("GRANT SELECT ON shop_order TO pg_monitor")
            cursor.execute(statement)
        expected = answer()
        write_rows = db_csv.writer_for(Order.objects.values_list("pk", "total"))
        assert write_rows is not None
        write_rows(io.BytesIO(), "utf-8", lambda _rows: seen.append(answer()))
    finally:
        connection.close()
    assert seen == [expected]


@fast
def test_a_connection_of_a_sites_own_class_has_no_second_one(shop: list[Order]) -> None:
    usual = connections["default"]
    own = type("Own", (type(usual),), {"__module__": "tenants"})(usual.settings_dict, usual.alias)
    connections["default"] = own
    seen: list[Any] = []
    try:
        write_rows = db_csv.writer_for(Order.objects.values_list("pk", "total"))
        if write_rows is not None:
            write_rows(io.BytesIO(), "utf-8", lambda _rows: seen.append(connections["default"]))
    finally:
        own.close()
        connections["default"] = usual
    assert (write_rows is None) == (VENDOR == "mysql")
    assert all(one is own for one in seen)


@fast
@postgres
@pytest.mark.parametrize(
    "statement",
    ["SET datestyle TO 'German'", "SET timezone TO 'Asia/Tokyo'"],
)
def test_a_session_with_another_date_style_takes_the_row_path(statement: str) -> None:
    rows = Specimen.objects.values_list("moment")
    assert db_csv.writer_for(rows) is not None
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
        assert db_csv.writer_for(rows) is None
    finally:
        connection.close()


@mysql
def test_inside_a_transaction_mariadb_would_have_to_hold_all_rows() -> None:
    with transaction.atomic():
        assert db_csv.writer_for(Order.objects.values_list("pk")) is None


@mysql
def test_no_sql_mode_changes_the_text(shop: list[Order]) -> None:
    Specimen.objects.create(text="a\\'b", moment=datetime(2026, 1, 1, tzinfo=UTC), uid=uuid.uuid4())
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET sql_mode = 'NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,ANSI_QUOTES'")
        assert_same(Specimen.objects.values_list(*PRINTED))
    finally:
        connection.close()


ODD_VALUES = [
    ("integer", "'abc'"),
    ("integer", "1.5"),
    ("flag", "2"),
    ("flag", "'yes'"),
    ("amount", "0.125"),
    ("amount", "1e-7"),
    ("amount", "-0.0"),
    ("amount", "12345678.005"),
    ("text", "x'41ff'"),
    ("text", "'a' || char(0) || ',b'"),
    ("day", "20260101"),
    ("day", "'2026-1-5'"),
    ("day", "'soon'"),
    ("moment", "'2026-01-01T10:00:00.000000'"),
    ("moment", "'2026-01-01 10:00:00.5'"),
    ("moment", "'2026-01-01 10:00:00.000000'"),
    ("clock", "'10:00'"),
    ("clock", "'10:00:00.000000'"),
    ("uid", "'0123456789ABCDEF0123456789ABCDEF'"),
    ("ratio", "7"),
    ("ratio", "9e999"),
]


@sqlite
@pytest.mark.parametrize(("name", "value"), ODD_VALUES)
def test_odd_values_in_sqlite_are_printed_as_the_row_path_prints_them(
    name: str, value: str
) -> None:
    Specimen.objects.create()
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE shop_specimen SET {name} = {value}")  # noqa: S608
    assert_same(Specimen.objects.values_list(name, "pk"))


@sqlite
def test_invalid_values_in_sqlite_fail_as_in_the_row_path() -> None:
    Specimen.objects.create()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE shop_specimen SET uid = 'no uuid'")
    rows = Specimen.objects.values_list("uid", "pk")
    with pytest.raises(ValueError, match="badly formed"):
        list(rows)
    with pytest.raises(ValueError, match="badly formed"):
        ours(rows)


@fast
def test_a_second_database_makes_its_own_csv() -> None:
    Customer.objects.using("elsewhere").create(name="there, away")
    rows = Customer.objects.using("elsewhere").values_list("name", "pk")
    with CaptureQueriesContext(connections["elsewhere"]) as captured:
        assert parsed(ours(rows))[0][0] == "there, away"
    assert captured.captured_queries
    assert parsed(ours(Customer.objects.values_list("name"))) == []


@fast
def test_the_caller_may_be_reading_another_result(shop: list[Order]) -> None:
    others = Order.objects.order_by("pk").iterator(chunk_size=2)
    next(others)
    assert_same(Order.objects.order_by("pk").values_list("reference", "total"))
    assert len(list(others)) == len(shop) - 1
