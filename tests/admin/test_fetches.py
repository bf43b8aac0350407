"""The admin of the ledger: read, filter, export; change nothing."""

import io
from datetime import UTC, datetime
from typing import Any

import polars
import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from openpyxl import load_workbook

from async_downloads.files import storage
from async_downloads.models import Download, FetchRecord
from tests import queues
from tests.factories import DownloadFactory, UserFactory
from tests.staff import client_of, detail, staff_with, text

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/async_downloads/fetchrecord/"
EXPORT = f"{LIST}export-in-background/"

COLUMNS = [
    *("Fetched", "Primary key of the user", "User", "Download key", "Download", "File name"),
    *("Owner", "Size", "Address"),
]

NAMES = [field.name for field in FetchRecord._meta.fields if field.name != "id"]


@pytest.fixture(autouse=True)
def audited(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_AUDIT = True
    settings.ASYNC_DOWNLOADS_AUDIT_ADDRESS = "async_downloads.audit.remote_network"


def fetched(download: Download, user: Any) -> FetchRecord:
    """Let a user fetch a file, and return the record of it."""
    assert b"".join(client_of(user).get(download.url))  # type: ignore[attr-defined]
    return FetchRecord.objects.order_by("pk").last()  # type: ignore[return-value]


@pytest.fixture
def record(user: Any) -> FetchRecord:
    name, file = "Orders, all", "orders.csv"
    return fetched(
        DownloadFactory(collection__user=user, complete=True, name=name, filename=file), user
    )


@pytest.fixture
def auditor() -> Client:
    return staff_with("view_fetchrecord")


def test_the_list_and_a_page_show_a_record(auditor: Client, record: FetchRecord) -> None:
    page = text(auditor, LIST)
    for shown in ("ada", "orders.csv", "127.0.0.0/24"):
        assert shown in page
    for shown in ("ada", "Orders, all", "orders.csv", "127.0.0.0/24", str(record.download_key)):
        assert shown in text(auditor, detail(record))


def test_staff_without_the_permission_see_nothing(record: FetchRecord) -> None:
    client = staff_with("view_download", "delete_download")
    assert client.get(LIST).status_code == 403
    assert client.get(detail(record)).status_code == 403
    assert client.post(EXPORT).status_code == 403


def test_even_a_superuser_can_change_nothing(staff_user: Any, record: FetchRecord) -> None:
    client = client_of(staff_user)
    before = FetchRecord.objects.values().get()
    assert client.get(f"{LIST}add/").status_code == 403
    assert client.post(f"{LIST}add/", {"user_name": "grace"}).status_code == 403
    assert client.post(f"{LIST}{record.pk}/delete/", {"post": "yes"}).status_code == 403
    assert client.post(detail(record), {"user_name": "grace"}).status_code == 403
    ticked = {"action": "delete_selected", "_selected_action": [record.pk], "post": "yes"}
    client.post(LIST, ticked)
    assert FetchRecord.objects.values().get() == before
    page = text(client, detail(record))
    assert "<textarea" not in page
    assert 'name="_save"' not in page


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ({"user": "AD"}, True),
        ({"user": "grace"}, False),
        ({"q": "orders all"}, True),
        ({"q": "127.0.0"}, True),
        ({"q": "invoices"}, False),
        ({"fetched_at__year": "2020"}, False),
        ({"fetched_at__gte": "2020-01-01 00:00:00+00:00"}, True),
        ({"fetched_at__lt": "2020-01-01 00:00:00+00:00"}, False),
        ({"user": "a\0"}, False),
        ({"user_key__exact": "0"}, False),
    ],
    ids=str,
)
def test_filters_dates_and_search_find_records(
    auditor: Client, record: FetchRecord, query: dict[str, str], shown: bool
) -> None:
    assert (detail(record) in text(auditor, LIST, **query)) == shown


def test_the_search_finds_a_download_key(auditor: Client, record: FetchRecord) -> None:
    other = fetched(DownloadFactory(collection__user=UserFactory(), complete=True), superuser())
    page = text(auditor, LIST, q=str(record.download_key))
    assert detail(record) in page
    assert detail(other) not in page


def superuser() -> Any:
    return UserFactory(is_staff=True, is_superuser=True)


def test_the_dates_above_the_list_are_those_of_the_records(
    auditor: Client, record: FetchRecord
) -> None:
    years = {record.fetched_at.year - 1, record.fetched_at.year}
    FetchRecord(
        fetched_at=datetime(min(years), 1, 2, tzinfo=UTC),
        download_key=record.download_key,
        size=1,
    ).save()
    page = text(auditor, LIST)
    assert {year for year in years if f"?fetched_at__year={year}" in page} == years


def test_the_index_has_the_list_only_while_files_are_recorded(
    staff_user: Any, record: FetchRecord, settings: Any
) -> None:
    client = client_of(staff_user)
    assert LIST in text(client, "/admin/")
    settings.ASYNC_DOWNLOADS_AUDIT = False
    with CaptureQueriesContext(connection) as queries:
        assert LIST not in text(client, "/admin/")
    assert not [each for each in queries if FetchRecord._meta.db_table in each["sql"]]
    # What was recorded can still be read.
    assert detail(record) in text(client, LIST)


def test_the_page_of_a_record_asks_nothing_of_its_download(
    auditor: Client, record: FetchRecord, user: Any
) -> None:
    user.delete()
    assert "Orders, all" in text(auditor, detail(record))


def exported(client: Client, format_: str) -> Download:
    """Export the ledger from its list, oldest first, by a worker."""
    chosen = {
        "format": format_,
        "encoding": "utf-8",
        "order": NAMES,
        "columns": NAMES,
    }
    response = client.post(f"{EXPORT}?o=1", chosen)
    assert response.status_code == 302
    queues.run_waiting()
    download = Download.objects.latest("timestamp")
    assert download.complete, (download.errors, download.error_detail)
    return download


def contents(download: Download) -> bytes:
    with storage.storage().open(download.filepath, "rb") as file:
        return bytes(file.read())


def test_the_ledger_exports_itself(user: Any, record: FetchRecord) -> None:
    staff = UserFactory(username="auditor", is_staff=True)
    staff.user_permissions.add(Permission.objects.get(codename="view_fetchrecord"))
    client = client_of(staff)
    # The first export has the fetch of the orders; its own fetch is in the second one.
    first = exported(client, "csv")
    table = polars.read_csv(contents(first), infer_schema=False)
    assert table.columns == COLUMNS
    assert table["Download"].to_list() == ["Orders, all"]
    own = fetched(first, staff)
    second = exported(client, "csv")
    table = polars.read_csv(contents(second), try_parse_dates=True)
    assert table.rows() == [
        (
            *(each.fetched_at, int(each.user_key), each.user_name, str(each.download_key)),
            *(each.download_name, each.file_name, each.owner, each.size, each.address),
        )
        for each in (record, own)
    ]
    assert (own.owner, own.download_name) == ("auditor", first.name)


def test_the_ledger_is_exported_as_a_workbook(staff_user: Any, record: FetchRecord) -> None:
    workbook = load_workbook(io.BytesIO(contents(exported(client_of(staff_user), "xlsx"))))
    header, row = workbook.active.values  # type: ignore[union-attr]
    assert list(header) == COLUMNS
    assert isinstance(row[0], datetime)
    assert row[1:4] == (record.user_key, "ada", str(record.download_key))
    assert row[4:] == ("Orders, all", "orders.csv", "ada", 4, "127.0.0.0/24")
