"""Random querysets: CSV made by the database, compared with the row path."""

import io
import os
import random
import sys
from typing import Any

import pytest
from django.db import connection
from django.db.models import QuerySet

from async_downloads import db_csv
from async_downloads.building.columns import SelectedColumns
from async_downloads.formats import csv, rows
from tests import querysets

pytestmark = pytest.mark.django_db(
    transaction=True, databases=["default", "elsewhere"], available_apps=["tests.shop"]
)

#: How many querysets are compared. Set a larger number now and then.
QUERYSETS = int(os.environ.get("TEST_QUERYSETS", "150"))

SEED = int(os.environ.get("TEST_SEED") or random.randrange(2**32))


def outcome(make: Any) -> bytes | str:
    """Return the bytes, or "an error"."""
    stream = io.BytesIO()
    try:
        make(stream)
    except Exception:
        return "an error"
    return stream.getvalue()


def row_path(queryset: QuerySet[Any], *, escape: bool = False, labels: Any = ()) -> bytes | str:
    def write(stream: Any) -> None:
        found: Any = queryset.iterator(chunk_size=2000)
        found = zip(found) if rows.is_flat(queryset) else found
        if labels:
            found = SelectedColumns(queryset).labelled(found, labels)
        csv.write(found, stream, escape_formulas=escape)

    return outcome(write)


def fast_path(
    queryset: QuerySet[Any], *, escape: bool = False, labels: Any = ()
) -> bytes | str | None:
    """Return the outcome; None if the database makes no CSV of the queryset."""
    try:
        write_rows = db_csv.writer_for(queryset, escape_formulas=escape, labels=labels)
    except Exception:
        return "an error"
    if write_rows is None:
        return None
    return outcome(lambda stream: write_rows(stream, "utf-8", lambda _rows: None))


def comparable(queryset: QuerySet[Any], content: bytes | str) -> object:
    """Return the lines, sorted if the queryset does not define their order."""
    ordering = [str(each) for each in queryset.query.order_by]
    if isinstance(content, str) or {"pk", "-pk"} & set(ordering[-1:]):
        return content
    return sorted(content.splitlines(keepends=True))


def test_random_querysets_have_the_bytes_of_the_row_path() -> None:
    sys.stderr.write(f"TEST_SEED={SEED}\n")
    chance = random.Random(SEED)
    fast = errors = labelled = 0
    for number in range(QUERYSETS):
        if number % 150 == 0:
            querysets.make_specimens(chance, 40)
        escape = chance.random() < 0.3
        try:
            queryset = querysets.make_queryset(chance)
        except Exception:  # noqa: S112 (Django has no such queryset)
            continue
        labels = querysets.make_labels(chance, queryset) if chance.random() < 0.4 else ()
        ours = fast_path(queryset, escape=escape, labels=labels)
        if ours is None:
            continue
        fast += 1
        labelled += any(labels)
        errors += isinstance(ours, str)
        theirs = row_path(queryset, escape=escape, labels=labels)
        assert comparable(queryset, ours) == comparable(queryset, theirs), (
            f"TEST_SEED={SEED}, queryset {number}: {queryset.query} {labels}"
        )
    sys.stderr.write(
        f"{QUERYSETS} querysets; the database made CSV of {fast}, of which {errors} were errors"
        f" and {labelled} had labels\n"
    )
    # The row path must be the exception.
    if db_csv.writer_for(querysets.Specimen.objects.values_list("pk")) is not None:
        assert fast - errors > QUERYSETS / 5
        assert labelled > QUERYSETS / 50
    else:
        assert not hasattr(connection.connection, "pgconn")
