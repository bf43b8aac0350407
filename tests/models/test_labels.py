"""What the list says of a file: its short name, its type, its rows."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.utils import translation

from async_downloads.models.labels import file_type, short_name
from tests.factories import DownloadFactory

pytestmark = pytest.mark.any_database

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("Open orders 2026-01-31", "Open orders"),
        # The name has the date of the writer's time zone.
        ("Open orders 2026-01-30", "Open orders"),
        ("Open orders 2026-02-01", "Open orders"),
        ("Open orders 2025-12-31", "Open orders 2025-12-31"),
        ("Orders 2026-01-31 of all shops", "Orders 2026-01-31 of all shops"),
        (" 2026-01-31", " 2026-01-31"),
        ("Open orders", "Open orders"),
        ("", ""),
    ],
)
def test_a_short_name_ends_before_the_date_of_the_request(name: str, short: str) -> None:
    assert short_name(name, NOON) == short


@pytest.mark.parametrize(
    ("filename", "label"),
    [
        ("orders.csv", "CSV"),
        ("orders.xlsx", "XLSX"),
        ("orders.csv.gz", "CSV"),
        ("invoices.zip", "ZIP"),
        ("invoices.pdf.zip", "PDF"),
        ("orders.jsonl", "JSONL"),
        ("orders.parquet", ""),
        ("orders", ""),
        (".csv", ""),
        ("", ""),
    ],
)
def test_the_type_of_a_file_is_its_extension_if_that_is_short(filename: str, label: str) -> None:
    assert file_type(filename) == label


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"running": True, "rows_written": 31_767}, "31,767 rows so far"),
        ({"running": True, "rows_written": 1}, "1 row so far"),
        ({"running": True, "rows_written": 31_767, "percentage": 40}, ""),
        ({"running": True}, ""),
        ({}, ""),
        ({"complete": True, "rows_written": 200_000}, "200,000 rows"),
        ({"complete": True, "rows_written": 1, "rows_expected": 1}, "1 row"),
        ({"complete": True, "rows_written": 5, "rows_expected": 9}, ""),
        ({"complete": True}, ""),
        ({"failed": True, "rows_written": 5}, ""),
    ],
)
@pytest.mark.django_db
def test_the_rows_in_words(values: dict[str, Any], text: str) -> None:
    assert DownloadFactory(**values).rows_text == text


@pytest.mark.django_db
def test_rows_are_grouped_as_the_reader_groups_them() -> None:
    download = DownloadFactory(complete=True, rows_written=200_000)
    with translation.override("de"):
        assert download.rows_text == "200.000 Zeilen"
    # Django itself groups no numbers of this language.
    with translation.override("he"):
        assert download.rows_text == "200,000 שורות"
    truncated = DownloadFactory(complete=True, rows_written=1000, rows_expected=2000)
    assert truncated.status_text == "Truncated: 1,000 of 2,000 rows"
