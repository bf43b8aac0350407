"""All operations on files, on S3: django-storages with a local server."""

import urllib.request
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from async_downloads import cache, owners, store, tasks
from async_downloads.legacy import adoption
from async_downloads.models import Download
from tests import s3
from tests.attempts import long_ago
from tests.legacy import legacy_downloads
from tests.pace import LONGEST_WAIT

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]

UPDATE = "/async_downloads/ajax_update/"
ROWS = [["id", "name"], [1, "Ümläut"]]
CONTENT = "id,name\n1,Ümläut\n".encode()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3.running() as address:
        yield address


@pytest.fixture(autouse=True)
def on_s3(server: str, settings: Any) -> Any:
    """Store the files in an empty bucket; return boto's client."""
    settings.STORAGES = s3.storages(server)
    settings.ASYNC_DOWNLOADS_STORAGE = "s3"
    settings.ASYNC_DOWNLOADS_SERVE = "redirect"
    return s3.empty(server)


def keys(client: Any) -> list[str]:
    """Return the keys in the bucket, including markers of folders."""
    found = client.list_objects_v2(Bucket=s3.BUCKET).get("Contents", ())
    return [each["Key"] for each in found]


def put(client: Any, key: str, content: bytes = b"left over") -> str:
    client.put_object(Bucket=s3.BUCKET, Key=key, Body=content)
    return key


def made(user: Any, filename: str = "orders.csv", **how: Any) -> Download:
    _, key = cache.init_download(user, filename)
    cache.save_download(key, **(how or {"iterable": ROWS}))
    return Download.objects.get(pk=key)


def fetched(url: str, **headers: str) -> Any:
    """Fetch a URL of the storage; return the response with its bytes as ``content``."""
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 (our own)
    with urllib.request.urlopen(request, timeout=LONGEST_WAIT) as answer:  # noqa: S310 (our own)
        answer.content = answer.read()
        return answer


def test_an_export_is_stored_and_the_owner_redirected_to_it(
    signed_in: Client, user: Any, on_s3: Any
) -> None:
    download = made(user, "Aufträge & Co. ‘24’.csv")
    assert (download.state, download.size) == ("complete", len(CONTENT))
    assert keys(on_s3) == [download.filepath]
    response = signed_in.get(download.url)
    assert response.status_code == 302
    assert response["Cache-Control"] == "private, no-store"
    answer = fetched(response["Location"])
    assert answer.content == CONTENT
    assert answer.headers["Content-Type"] == "text/csv"
    assert answer.headers["Cache-Control"] == "private, no-store"
    disposition = answer.headers["Content-Disposition"]
    assert disposition.startswith("attachment; filename*=utf-8''")
    assert unquote(disposition.partition("''")[2]) == "Aufträge & Co. ‘24’.csv"


@pytest.mark.parametrize(
    ("filename", "content_type", "encoding"),
    [
        ("orders.csv.gz", "application/gzip", "identity"),
        ("orders.jsonl", "application/jsonl", None),
    ],
)
def test_a_compressed_file_is_not_decompressed_on_the_way(
    signed_in: Client, user: Any, filename: str, content_type: str, encoding: str | None
) -> None:
    download = made(user, filename)
    answer = fetched(signed_in.get(download.url)["Location"])
    assert answer.headers["Content-Type"] == content_type
    assert answer.headers["Content-Encoding"] == encoding
    assert (answer.content[:2] == b"\x1f\x8b") is (encoding is not None)


def test_each_click_gets_a_new_link_that_expires(
    signed_in: Client, user: Any, server: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.STORAGES = s3.storages(server, querystring_expire=7)
    download = made(user)
    assert "X-Amz" not in str(signed_in.get(UPDATE).json())
    first = signed_in.get(download.url)["Location"]
    signed = parse_qs(urlsplit(first).query)
    assert signed["X-Amz-Expires"] == ["7"]
    # Move the clock of the code that signs.
    later = timezone.now() + timedelta(seconds=60)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: later.replace(tzinfo=None))
    second = parse_qs(urlsplit(signed_in.get(download.url)["Location"]).query)
    assert second["X-Amz-Date"] > signed["X-Amz-Date"]
    assert second["X-Amz-Signature"] != signed["X-Amz-Signature"]


def test_another_owners_download_gets_no_link(client: Client, user: Any, other_user: Any) -> None:
    download = made(user)
    client.force_login(other_user)
    response = client.get(download.url)
    assert (response.status_code, response.has_header("Location")) == (404, False)


def test_an_interrupted_download_resumes_at_the_storage(signed_in: Client, user: Any) -> None:
    location = signed_in.get(made(user).url)["Location"]
    answer = fetched(location, Range="bytes=3-6")
    assert (answer.status, answer.content) == (206, CONTENT[3:7])


@pytest.mark.parametrize("asked", [None, "bytes=5-"])
def test_django_can_send_the_file_as_well(
    signed_in: Client, user: Any, settings: Any, asked: str | None
) -> None:
    settings.ASYNC_DOWNLOADS_SERVE = "stream"
    response: Any = signed_in.get(made(user).url, headers={"Range": asked} if asked else {})
    assert response.getvalue() == CONTENT[5 if asked else 0 :]
    assert response["Content-Length"] == str(len(CONTENT) - (5 if asked else 0))


@pytest.mark.parametrize("way", ["redirect", "stream"])
def test_a_file_that_is_missing_from_the_bucket_is_410(
    signed_in: Client, user: Any, on_s3: Any, settings: Any, way: str
) -> None:
    settings.ASYNC_DOWNLOADS_SERVE = way
    download = made(user)
    on_s3.delete_object(Bucket=s3.BUCKET, Key=download.filepath)
    assert signed_in.get(download.url).status_code == 410
    assert Download.objects.get().file_missing
    assert signed_in.get(download.url).status_code == 410


def test_the_callers_file_is_stored_and_stays_open(user: Any, tmp_path: Any) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(1_000_000))
    with path.open("rb") as file:
        download = made(user, "a.bin", file=file)
    assert (download.state, download.size) == ("complete", 1_000_000)


@pytest.mark.parametrize("overwrite", [True, False])
def test_two_exports_with_one_name_are_two_files(
    user: Any, on_s3: Any, server: str, settings: Any, overwrite: bool
) -> None:
    settings.STORAGES = s3.storages(server, file_overwrite=overwrite)
    paths = {made(user).filepath for _ in range(2)}
    assert len(paths) == 2
    assert set(keys(on_s3)) == paths


def test_an_export_that_fails_leaves_nothing(user: Any, on_s3: Any) -> None:
    assert made(user, iterable=(1 / 0 for _ in "x")).failed
    assert keys(on_s3) == []


def test_clearing_deletes_the_file_and_may_be_repeated(
    signed_in: Client, user: Any, on_s3: Any
) -> None:
    download, without = made(user), made(user)
    other = put(on_s3, f"downloads/{uuid.uuid4()}/other.csv")
    beside = put(on_s3, f"downloads/{download.pk}/beside.csv")
    on_s3.delete_object(Bucket=s3.BUCKET, Key=without.filepath)
    for key in (download.pk, without.pk):
        assert store.clear(user.pk, download_key=key)
        assert not store.clear(user.pk, download_key=key)
    assert beside not in keys(on_s3)
    assert keys(on_s3) == [other]


def test_the_clean_up_deletes_expired_files(user: Any, on_s3: Any) -> None:
    kept, expired = made(user), made(user)
    Download.objects.filter(pk=expired.pk).update(expires_at=long_ago())
    tasks.cleanup_expired_downloads()
    assert keys(on_s3) == [kept.filepath]


def test_only_old_files_in_uuid_folders_are_orphans(
    user: Any, on_s3: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = made(user).filepath
    orphan = put(on_s3, f"downloads/{uuid.uuid4()}/orphan.csv")
    strangers = [
        put(on_s3, "downloads/not-a-key/a.csv"),
        put(on_s3, "downloads/a.csv"),
        put(on_s3, f"elsewhere/{uuid.uuid4()}/a.csv"),
        put(on_s3, f"downloads/{uuid.uuid4()}/folder/a.csv"),
        # Consoles show this key as an empty folder.
        put(on_s3, f"downloads/{uuid.uuid4()}/", b""),
    ]
    everything = {kept, orphan, *strangers}
    call_command("cleanup_downloads", "--orphans")
    assert set(keys(on_s3)) == everything
    removed = list(store.remove_orphans(min_age=-timedelta(minutes=1)))
    assert removed == [orphan]
    assert set(keys(on_s3)) == everything - {orphan}


@pytest.mark.usefixtures("shared_cache")
def test_downloads_of_0_6_are_adopted_with_their_files(
    user: Any, signed_in: Client, on_s3: Any
) -> None:
    complete, lost = (
        legacy_downloads.store("ada"),
        legacy_downloads.begin("ada", complete=True, url="x"),
    )
    renamed = legacy_downloads.begin("ada", "b.csv", complete=True, url="x")
    put(on_s3, f"downloads/{renamed}/b_1.csv")
    nobodys = put(on_s3, f"downloads/{uuid.uuid4()}/c.csv")
    # Consoles show this key as an empty folder.
    put(on_s3, f"downloads/{uuid.uuid4()}/", b"")
    outcomes = [finding.outcome for finding in adoption.adopt()]
    assert sorted(outcomes) == ["complete", "complete", "failed", "ownerless"]
    states = {str(row.pk): (row.state, row.size) for row in Download.objects.all()}
    assert states == {complete: ("complete", 4), renamed: ("complete", 9), lost: ("failed", None)}
    (adopted,) = [found for found in adoption.adopt(owner=owners.resolve(user)) if found.adopted]
    assert adopted.path == nobodys
    assert signed_in.get(Download.objects.get(filepath=nobodys).url).status_code == 302
