"""The ledger of the files that were handed out."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Permission
from django.core.files.storage import InMemoryStorage
from django.db import connection, connections
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from async_downloads import audit
from async_downloads.files import storage
from async_downloads.models import Download, DownloadCollection, FetchRecord
from tests.factories import FILE_CONTENT, DownloadFactory, UserFactory
from tests.store.test_transactions import locked_elsewhere

pytestmark = pytest.mark.django_db(transaction=True)

#: The parts of the file that a request may ask for, by their names.
PARTS = {
    "whole": {},
    "first": {"Range": "bytes=0-1"},
    "later": {"Range": "bytes=2-"},
    "last": {"Range": "bytes=-1"},
    "beyond": {"Range": "bytes=99-"},
}


@pytest.fixture(autouse=True)
def audited(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_AUDIT = True


@pytest.fixture(params=["stream", "x-accel", "x-sendfile", "redirect"])
def way(request: pytest.FixtureRequest, settings: Any) -> str:
    serve_by(request.param, settings)
    return str(request.param)


def serve_by(way: str, settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_SERVE = way
    if way == "redirect":
        backend = f"{InMemoryStorage.__module__}.{InMemoryStorage.__name__}"
        options = {"base_url": "https://storage.example/"}
        settings.STORAGES = {**settings.STORAGES, "away": {"BACKEND": backend, "OPTIONS": options}}
        settings.ASYNC_DOWNLOADS_STORAGE = "away"


@pytest.fixture
def mine(user: Any) -> Download:
    return DownloadFactory(collection__user=user, complete=True, name="Orders", filename="o.csv")


def fetch(client: Client, download: Download, method: str = "get", **headers: str) -> int:
    """Fetch a file to its end, and return the status."""
    response = getattr(client, method)(download.url, headers=headers)
    if response.streaming:
        assert b"".join(response)
    return int(response.status_code)


@contextmanager
def without_the_table() -> Iterator[None]:
    """Let the database refuse each statement about the ledger."""
    with connection.schema_editor() as editor:
        editor.delete_model(FetchRecord)
    try:
        yield
    finally:
        with connection.schema_editor() as editor:
            editor.create_model(FetchRecord)


# One record for each file


def test_each_way_of_serving_writes_one_record(
    way: str, signed_in: Client, user: Any, settings: Any
) -> None:
    mine = DownloadFactory(collection__user=user, complete=True, name="Orders", filename="o.csv")
    before = timezone.now()
    assert fetch(signed_in, mine) == (302 if way == "redirect" else 200)
    record = FetchRecord.objects.values().get()
    assert before <= record.pop("fetched_at") <= timezone.now()
    del record["id"]
    assert record == {
        "user_key": str(user.pk),
        "user_name": "ada",
        "download_key": mine.pk,
        "download_name": "Orders",
        "file_name": "o.csv",
        "owner": "ada",
        "size": len(FILE_CONTENT),
        "address": "",
    }
    assert fetch(signed_in, mine)
    assert FetchRecord.objects.count() == 2


@pytest.mark.parametrize(
    ("way", "method", "part", "first", "again"),
    [
        ("stream", "get", "whole", 1, 2),
        ("stream", "get", "first", 1, 2),
        # A person who asks for a part without the beginning is recorded as well.
        ("stream", "get", "later", 1, 1),
        ("stream", "get", "last", 1, 1),
        ("stream", "get", "beyond", 0, 0),
        ("stream", "head", "whole", 0, 0),
        ("x-accel", "get", "whole", 1, 2),
        ("x-accel", "get", "first", 1, 2),
        ("x-accel", "get", "later", 1, 1),
        ("x-accel", "head", "whole", 0, 0),
        ("x-sendfile", "get", "later", 1, 1),
        ("redirect", "get", "whole", 1, 2),
        ("redirect", "get", "later", 1, 1),
        # The response has the signed URL.
        ("redirect", "head", "whole", 1, 1),
    ],
)
def test_only_a_response_with_new_bytes_writes_a_record(
    signed_in: Client,
    user: Any,
    settings: Any,
    way: str,
    method: str,
    part: str,
    first: int,
    again: int,
) -> None:
    serve_by(way, settings)
    mine = DownloadFactory(collection__user=user, complete=True)
    counts = []
    for _ in range(2):
        fetch(signed_in, mine, method, **PARTS[part])
        counts.append(FetchRecord.objects.count())
    assert counts == [first, again]


def test_a_resumed_fetch_is_one_fetch(signed_in: Client, mine: Download) -> None:
    fetch(signed_in, mine, **PARTS["first"])
    assert fetch(signed_in, mine, **PARTS["later"]) == 206
    assert FetchRecord.objects.count() == 1


@pytest.mark.parametrize("reason", ["another person", "another day", "another file"])
def test_a_later_part_alone_is_a_fetch(
    signed_in: Client, mine: Download, staff_user: Any, reason: str
) -> None:
    client = Client()
    client.force_login(staff_user)
    fetch(client if reason == "another person" else signed_in, mine)
    if reason == "another day":
        record = FetchRecord.objects.get()
        FetchRecord.objects.all().age_out()
        record.pk, record._state.adding = None, True  # type: ignore[assignment]
        record.fetched_at -= timedelta(days=1)
        record.save()
    elif reason == "another file":
        Download.objects.update(finished_at=timezone.now())
    fetch(signed_in, mine, **PARTS["later"])
    assert FetchRecord.objects.count() == 2


def test_an_unchanged_file_is_not_handed_out_again(signed_in: Client, mine: Download) -> None:
    etag = signed_in.head(mine.url)["ETag"]
    assert fetch(signed_in, mine, **{"If-None-Match": etag}) == 304
    assert not FetchRecord.objects.exists()


def test_a_refused_or_missing_file_writes_no_record(
    signed_in: Client, mine: Download, settings: Any
) -> None:
    of_another = DownloadFactory(complete=True)
    assert fetch(signed_in, of_another) == 404
    settings.ASYNC_DOWNLOADS_MAY_FETCH = "operator.is_"
    assert fetch(signed_in, mine) == 404
    settings.ASYNC_DOWNLOADS_MAY_FETCH = ""
    url = mine.url
    storage.storage().delete(mine.filepath)
    assert signed_in.get(url).status_code == 410
    assert not FetchRecord.objects.exists()


def test_a_fetch_by_staff_is_recorded_with_the_owner(client: Client, mine: Download) -> None:
    staff = UserFactory(username="auditor", is_staff=True)
    staff.user_permissions.add(Permission.objects.get(codename="fetch_download"))
    client.force_login(staff)
    fetch(client, mine)
    record = FetchRecord.objects.get()
    assert (record.user_name, record.user_key, record.owner) == ("auditor", str(staff.pk), "ada")


def test_a_client_that_wants_json_is_recorded(signed_in: Client, mine: Download) -> None:
    fetch(signed_in, mine, Accept="application/json")
    assert FetchRecord.objects.count() == 1


def test_a_file_of_a_label_is_recorded_with_it(client: Client, staff_user: Any) -> None:
    download = DownloadFactory(collection__user=None, collection__label="all staff", complete=True)
    client.force_login(staff_user)
    fetch(client, download)
    assert FetchRecord.objects.get().owner == "all staff"


def test_a_record_outlives_the_download_and_the_user(
    signed_in: Client, user: Any, mine: Download
) -> None:
    fetch(signed_in, mine)
    before = FetchRecord.objects.values().get()
    user.delete()
    assert not Download.objects.exists()
    assert not DownloadCollection.objects.exists()
    assert FetchRecord.objects.values().get() == before


def test_long_and_strange_texts_are_recorded(signed_in: Client, user: Any, settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_AUDIT_ADDRESS = "tests.test_audit.strange_address"
    mine = DownloadFactory(
        collection__user=user, complete=True, name="Ä" * 3000, filename="注文.csv"
    )
    fetch(signed_in, mine)
    record = FetchRecord.objects.get()
    assert (record.download_name, record.file_name) == ("Ä" * 3000, "注文.csv")
    assert record.address.startswith("\\x00")
    assert len(record.address) == 255


def strange_address(request: Any) -> str:
    return "\0" + "x" * 300


# No record, no file


def test_without_a_record_no_file_is_handed_out(
    way: str, signed_in: Client, user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    mine = DownloadFactory(collection__user=user, complete=True)
    with without_the_table():
        response = signed_in.get(mine.url)
    assert response.status_code == 503
    assert not response.streaming
    assert not {"Location", "X-Accel-Redirect", "X-Sendfile", "ETag"} & set(response.headers)
    assert response.text == (
        "This site records who fetches a file, and cannot do so at the moment. "
        "Please try again later."
    )
    assert response["Retry-After"] == "5"
    assert f"Download {mine.pk} is not handed out" in caplog.text
    mine.refresh_from_db()
    assert mine.fetch_count == 0
    # Later, it is.
    fetch(signed_in, mine)
    assert FetchRecord.objects.count() == 1


def test_without_a_record_no_later_part_is_handed_out(signed_in: Client, mine: Download) -> None:
    with without_the_table():
        assert fetch(signed_in, mine, **PARTS["later"]) == 503
        assert fetch(signed_in, mine, "head") == 200


def test_a_client_that_wants_json_learns_why(signed_in: Client, mine: Download) -> None:
    with without_the_table():
        response = signed_in.get(mine.url, headers={"Accept": "application/json"})
    assert response.status_code == 503
    assert response.json()["detail"].startswith("This site records who fetches a file")


def test_the_record_is_committed_before_the_first_byte(
    signed_in: Client, mine: Download, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    response = signed_in.get(mine.url)
    assert not connection.in_atomic_block
    assert FetchRecord.objects.count() == 1
    response.close()


@pytest.mark.django_db(transaction=True, databases=["default", "elsewhere"])
def test_a_router_keeps_the_ledger_in_another_database(
    signed_in: Client, mine: Download, settings: Any
) -> None:
    settings.DATABASE_ROUTERS = ["tests.test_audit.LedgerRouter"]
    fetch(signed_in, mine)
    fetch(signed_in, mine, **PARTS["later"])
    counts = [FetchRecord.objects.using(alias).count() for alias in ("default", "elsewhere")]
    assert counts == [0, 1]


@pytest.mark.django_db(transaction=True, databases=["default", "elsewhere"])
@pytest.mark.parametrize("part", ["whole", "later"])
def test_while_the_database_of_the_ledger_is_away_no_file_is_handed_out(
    signed_in: Client,
    mine: Download,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    part: str,
) -> None:
    settings.DATABASE_ROUTERS = ["tests.test_audit.LedgerRouter"]
    elsewhere = connections["elsewhere"]
    elsewhere.close()
    with monkeypatch.context() as patch:
        patch.setitem(elsewhere.settings_dict, "NAME", "/no/such/folder/ledger.sqlite3")
        response = signed_in.get(mine.url, headers=PARTS[part])
    assert response.status_code == 503
    assert FILE_CONTENT not in response.content
    assert "unable to open database file" in caplog.text
    elsewhere.close()
    assert fetch(signed_in, mine, **PARTS[part]) in {200, 206}
    assert FetchRecord.objects.using("elsewhere").count() == 1


def test_while_another_process_writes_to_sqlite_no_file_is_handed_out(
    signed_in: Client, mine: Download
) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("other databases lock rows")
    with locked_elsewhere():
        assert fetch(signed_in, mine) == 503
    assert fetch(signed_in, mine) == 200
    assert FetchRecord.objects.count() == 1


class LedgerRouter:
    """Keep fetch records in the second database."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "elsewhere" if model is FetchRecord else None

    db_for_write = db_for_read


# Off


def test_off_it_costs_no_query(signed_in: Client, mine: Download, settings: Any) -> None:
    with CaptureQueriesContext(connection) as on:
        fetch(signed_in, mine)
    settings.ASYNC_DOWNLOADS_AUDIT = False
    with CaptureQueriesContext(connection) as off:
        fetch(signed_in, mine)
    table = FetchRecord._meta.db_table
    assert [query for query in off if table in query["sql"]] == []
    (insert,) = [query["sql"] for query in on if table in query["sql"]]
    assert insert.startswith("INSERT")
    assert FetchRecord.objects.count() == 1


def test_off_a_view_of_the_site_records_nothing(
    rf: RequestFactory, user: Any, mine: Download, settings: Any
) -> None:
    settings.ASYNC_DOWNLOADS_AUDIT = False
    request = rf.get("/")
    request.user = user
    audit.record(request, mine)
    assert not FetchRecord.objects.exists()


# A view of the site


def test_a_view_of_the_site_records_a_visitor(rf: RequestFactory, mine: Download) -> None:
    request = rf.get("/")
    request.user = AnonymousUser()
    audit.record(request, mine)
    record = FetchRecord.objects.get()
    assert (record.user_key, record.user_name) == ("", "")


def test_a_view_of_the_site_learns_that_nothing_was_recorded(
    rf: RequestFactory, user: Any, mine: Download, settings: Any
) -> None:
    settings.ASYNC_DOWNLOADS_AUDIT_ADDRESS = "tests.test_audit.failing_address"
    request = rf.get("/")
    request.user = user
    with pytest.raises(LookupError):
        audit.record(request, mine)


# The log


def test_a_record_is_one_line_of_the_log_with_its_fields(
    signed_in: Client, user: Any, mine: Download, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="async_downloads.audit"):
        fetch(signed_in, mine)
    (line,) = [record for record in caplog.records if record.name == "async_downloads.audit"]
    key = str(mine.pk)
    assert line.getMessage() == f"The file of download {key} is handed out to user {user.pk}"
    written = FetchRecord.objects.get()
    for name in (field.name for field in FetchRecord._meta.fields if field.name != "id"):
        logged = getattr(line, name)
        assert logged == (key if name == "download_key" else getattr(written, name)), name


# The address


def failing_address(request: Any) -> str:
    raise LookupError("secret")


@pytest.mark.parametrize(
    ("path", "remote", "kept"),
    [
        ("remote_address", "192.0.2.77", "192.0.2.77"),
        ("remote_address", "2001:db8:1:2::3", "2001:db8:1:2::3"),
        ("remote_address", "", ""),
        ("remote_network", "192.0.2.77", "192.0.2.0/24"),
        ("remote_network", "2001:db8:1:2::3", "2001:db8:1::/48"),
        ("remote_network", "fe80::1%eth0", "fe80::/48"),
        ("remote_network", "::ffff:192.0.2.77", "192.0.2.0/24"),
        ("remote_network", "", ""),
        ("remote_network", "unix:", ""),
    ],
)
def test_the_site_decides_how_much_of_the_address_is_kept(
    signed_in: Client, mine: Download, settings: Any, path: str, remote: str, kept: str
) -> None:
    settings.ASYNC_DOWNLOADS_AUDIT_ADDRESS = f"async_downloads.audit.{path}"
    response = signed_in.get(
        mine.url, headers={"X-Forwarded-For": "203.0.113.9"}, REMOTE_ADDR=remote
    )
    response.close()
    assert FetchRecord.objects.get().address == kept


def test_a_failing_function_hands_out_no_file(
    signed_in: Client, mine: Download, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    for path in ("tests.test_audit.failing_address", "tests.test_audit.missing"):
        settings.ASYNC_DOWNLOADS_AUDIT_ADDRESS = path
        response = signed_in.get(mine.url)
        assert response.status_code == 503
        assert "secret" not in response.text
    assert "LookupError: secret" in caplog.text
    assert not FetchRecord.objects.exists()
