"""A stored file to a response."""

import asyncio
import io
import mimetypes
import tracemalloc
from collections.abc import AsyncIterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar, cast
from urllib.parse import unquote

import pytest
from django.conf import settings as project_settings
from django.core.files import File
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, InMemoryStorage
from django.http import FileResponse
from django.middleware.gzip import GZipMiddleware
from django.test import RequestFactory

from async_downloads import formats, serving
from async_downloads.files import storage
from async_downloads.files.names import path_for
from tests.files.test_names import told_name

MEGABYTE = 1 << 20
ETAG = '"of-this-content"'


def serve(
    path: str, filename: str = "orders.csv", method: str = "GET", size: int = 40_000, **headers: str
) -> Any:
    """Answer a request for a file; ``If_Range`` becomes the header ``If-Range``."""
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    request = RequestFactory().generic(method, "/", headers=told)
    return serving.serve(request, serving.Attachment(path, filename, size, ETAG))


@pytest.fixture
def path() -> str:
    return storage.storage().save("downloads/key/orders.csv", ContentFile(b"a,b\n" * 10_000))


@pytest.fixture
def large_path() -> Iterator[str]:
    path = Path(project_settings.MEDIA_ROOT) / "downloads" / "key" / "large.csv"
    path.parent.mkdir(parents=True)
    with path.open("wb") as large:
        large.truncate(64 * MEGABYTE)
    yield "downloads/key/large.csv"
    path.unlink()


def test_the_whole_file_is_sent(path: str) -> None:
    with closing(serve(path, "orders.csv")) as response:
        assert b"".join(cast("Iterator[bytes]", response)) == b"a,b\n" * 10_000
        assert response.status_code == 200
        assert response["Content-Length"] == "40000"


@pytest.mark.parametrize("filename", ["a.csv", "x.html", "x.svg", "x.xhtml", "x.js", "x", ""])
def test_it_is_always_an_attachment_never_sniffed_and_never_shared(
    path: str, filename: str
) -> None:
    with closing(serve(path, filename)) as response:
        assert response["Content-Disposition"].split(";")[0] == "attachment"
        assert response["X-Content-Type-Options"] == "nosniff"
        assert response["Cache-Control"] == "private, no-store"


@pytest.mark.parametrize(
    "filename",
    [
        "orders.csv",
        "Open orders 2026-01-31.csv",
        'with "quotes" and \\ backslash.csv',
        "semi;colon.csv",
        "100 %.csv",
    ],
)
def test_an_ascii_name_is_told_in_quotes(path: str, filename: str) -> None:
    quoted = filename.replace("\\", "\\\\").replace('"', '\\"')
    with closing(serve(path, filename)) as response:
        assert response["Content-Disposition"] == f'attachment; filename="{quoted}"'


@pytest.mark.parametrize("filename", ["Größe.csv", "名前.csv", "🙂.csv", "naïve; x.csv"])
def test_any_other_name_is_told_as_unicode(path: str, filename: str) -> None:
    with closing(serve(path, filename)) as response:
        charset, _, told = response["Content-Disposition"].partition("filename*=")[2].split("'")
        assert charset == "utf-8"
        assert unquote(told) == filename
        # It goes into a header, so it must be ASCII by then.
        assert response["Content-Disposition"].isascii()


@pytest.mark.parametrize(
    "filename", ["x" * 251 + ".csv", "名" * 83 + ".csv", "é" * 124 + ".csv.gz"]
)
def test_a_name_that_a_disk_can_hold_is_told_whole(path: str, filename: str) -> None:
    with closing(serve(path, filename)) as response:
        assert told_name(response["Content-Disposition"]) == filename


@pytest.mark.parametrize("way", serving.WAYS)
@pytest.mark.parametrize("char", ["x", '"', "\\", "é", "名", "👩", "e\u0301", "."])
@pytest.mark.parametrize("extension", [".csv", ".csv.gz", ".xlsx.zip", "", "." + "y" * 3000])
def test_no_name_makes_headers_that_a_web_server_refuses(
    way: str, char: str, extension: str, settings: Any
) -> None:
    settings.ASYNC_DOWNLOADS_SERVE = way
    settings.MEDIA_URL = "https://storage.example/"
    filename = char * 5000 + extension
    key = "0b9d5b5e-7c1e-4f0e-9d2b-3a7d1c5f8e21"
    stored = storage.save(path_for(key, filename), ContentFile(b"a,b\n")).path
    with closing(serve(stored, filename, size=4)) as response:
        sent = sum(len(f"{name}: {value}\r\n") for name, value in response.items())
        assert sent < 2000
        assert response.status_code in (200, 302)
        if "Content-Disposition" in response:
            told = told_name(response["Content-Disposition"])
            assert len(told.encode()) <= 255
            assert filename.startswith(told[:20])
            if len(extension) < 20:
                assert told.endswith(extension)


@pytest.mark.parametrize(
    "kind", ["x/" + "y" * 5000, "text/csv\r\nSet-Cookie: a=b", "text/é", "none", "", "a/b\0"]
)
def test_a_type_that_no_header_can_hold_is_unknown(
    path: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = formats.Format("odd", (".oddity",), kind, formats.registry.CSV.write)
    monkeypatch.setitem(formats.registry._formats, "odd", odd)
    with closing(serve(path, "orders.oddity")) as response:
        assert response["Content-Type"] == "application/octet-stream"
    monkeypatch.setitem(mimetypes.types_map, ".peculiar", kind)
    with closing(serve(path, "orders.peculiar")) as response:
        assert response["Content-Type"] == "application/octet-stream"


def test_the_name_is_what_people_know_it_by_and_not_where_it_lies(path: str) -> None:
    with closing(serve(path, "mine.csv")) as response:
        assert "mine.csv" in response["Content-Disposition"]
        assert not any("downloads/key" in value for value in response.headers.values())


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("way", serving.WAYS)
def test_a_file_that_the_storage_no_longer_has_is_not_found(
    path: str, way: str, method: str, settings: Any
) -> None:
    settings.ASYNC_DOWNLOADS_SERVE = way
    storage.remove(path)
    with pytest.raises(FileNotFoundError):
        serve(path, method=method)


class RememberingStorage(FileSystemStorage):
    """A storage that knows what it opened."""

    opened: ClassVar[list["File[bytes]"]] = []

    def _open(self, name: str, mode: str = "rb") -> "File[bytes]":
        self.opened.append(super()._open(name, mode))
        return self.opened[-1]


ASKED: dict[str, dict[str, str]] = {
    "whole": {},
    "a part": {"Range": "bytes=5-9"},
    "headers": {"method": "HEAD"},
    "a part that is not there": {"Range": "bytes=40000-"},
    "what is known": {"If_None_Match": ETAG},
    "another one": {"If_Match": '"other"'},
}


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
@pytest.mark.parametrize("read", [True, False], ids=["read", "not read"])
def test_the_file_is_closed_with_the_response(
    path: str, read: bool, asked: Any, settings: Any
) -> None:
    backend = f"{__name__}.{RememberingStorage.__name__}"
    settings.STORAGES = {**settings.STORAGES, "default": {"BACKEND": backend}}
    response = serve(path, **asked)
    opened = RememberingStorage.opened.pop()
    assert opened.closed is not (response.streaming)
    if read:
        assert _sent(response) == {200: 40_000, 206: 5}.get(response.status_code, 0) * (
            response.streaming
        )
    response.close()
    assert opened.closed


@pytest.mark.parametrize("asked", [{}, {"Range": "bytes=1-"}], ids=["whole", "a part"])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_large_file_is_served_in_constant_memory(large_path: str, kind: str, asked: Any) -> None:
    # "async" is how Django sends a response under ASGI. There it warns of an iterator
    # that would have to be read whole first, and warnings are errors here.
    response = serve(large_path, "large.csv", **asked)
    tracemalloc.start()
    try:
        sent = _sent(response) if kind == "sync" else asyncio.run(_sent_by_asgi(response))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        response.close()
    assert sent == 64 * MEGABYTE - bool(asked)
    assert peak < 8 * MEGABYTE


@pytest.mark.parametrize(
    ("filename", "told"),
    [
        ("a.csv", "text/csv"),
        ("a.csv.gz", "application/gzip"),
        ("a.xyzzy", "application/octet-stream"),
        ("", "application/octet-stream"),
    ],
)
def test_the_type_is_that_of_the_name(path: str, filename: str, told: str) -> None:
    with closing(serve(path, filename)) as response:
        assert response["Content-Type"] == told


def test_a_name_with_slashes_and_line_breaks_is_told_whole_and_in_one_line(path: str) -> None:
    with closing(serve(path, "a/b\r\nSet-Cookie: x.csv")) as response:
        assert response["Content-Disposition"] == 'attachment; filename="a/bSet-Cookie: x.csv"'


# Ranges, and what else a lost download needs to go on


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=2-5", 2, 5),
        ("bytes=39990-", 39_990, 39_999),
        ("bytes=39990-99999999999999999999", 39_990, 39_999),
        ("bytes=-3", 39_997, 39_999),
        ("bytes=-99999", 0, 39_999),
        ("Bytes= 1-2 ", 1, 2),
    ],
)
def test_a_range_is_answered_with_those_bytes(path: str, asked: str, first: int, last: int) -> None:
    with closing(serve(path, Range=asked)) as response:
        assert response.status_code == 206
        assert response["Content-Range"] == f"bytes {first}-{last}/40000"
        assert response["Content-Length"] == str(last - first + 1)
        assert b"".join(response) == (b"a,b\n" * 10_000)[first : last + 1]


@pytest.mark.parametrize("asked", ["bytes=40000-", "bytes=40000-40001", "bytes=-0"])
def test_a_range_behind_the_end_is_416_with_the_size(path: str, asked: str) -> None:
    response = serve(path, Range=asked)
    assert response.status_code == 416
    assert response["Content-Range"] == "bytes */40000"


@pytest.mark.parametrize(
    "asked",
    ["bytes=5-2", "bytes=-", "bytes=0-1,5-6", "lines=1-2", "bytes", "bytes=a-b", "bytes=１-2", ""],
)
def test_what_is_no_single_range_is_answered_with_the_whole_file(path: str, asked: str) -> None:
    with closing(serve(path, Range=asked)) as response:
        assert (response.status_code, _sent(response)) == (200, 40_000)
        assert response["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize(
    ("condition", "status"),
    [(ETAG, 206), ('"other"', 200), (f"W/{ETAG}", 200), ("Sat, 31 Jan 2026 09:05:00 GMT", 200)],
)
def test_a_range_of_other_content_than_is_there_is_not_given(
    path: str, condition: str, status: int
) -> None:
    with closing(serve(path, Range="bytes=5-9", If_Range=condition)) as response:
        assert response.status_code == status


@pytest.mark.parametrize(
    ("condition", "value", "status"),
    [
        ("If_Match", ETAG, 206),
        ("If_Match", '"other"', 412),
        ("If_None_Match", ETAG, 304),
        ("If_None_Match", '"other"', 206),
    ],
)
def test_conditions_come_before_the_range(
    path: str, condition: str, value: str, status: int
) -> None:
    with closing(serve(path, Range="bytes=5-9", **{condition: value})) as response:
        assert response.status_code == status


def test_the_tag_is_a_strong_one(path: str) -> None:
    with closing(serve(path)) as response:
        assert response["ETag"] == ETAG


def test_head_tells_the_same_and_reads_nothing(path: str) -> None:
    with (
        closing(serve(path)) as got,
        closing(serve(path, method="HEAD", Range="bytes=1-2")) as head,
    ):
        told = dict(got.headers)
        del told["Content-Encoding"]
        assert (head.status_code, dict(head.headers), head.content) == (200, told, b"")


@pytest.mark.parametrize("asked", [{}, {"Range": "bytes=0-"}], ids=["whole", "a part"])
def test_nothing_compresses_it_on_the_way(path: str, asked: Any) -> None:
    request = RequestFactory().get("/", headers={"Accept-Encoding": "gzip"})
    with closing(serve(path, **asked)) as served:
        response: Any = GZipMiddleware(lambda request: served)(request)
        assert response["Content-Length"] == "40000"
        assert b"".join(response) == b"a,b\n" * 10_000


def test_an_empty_file_is_sent_whole(path: str) -> None:
    stored = storage.storage().save("downloads/key/empty.csv", ContentFile(b""))
    with closing(serve(stored, size=0)) as response:
        assert (response.status_code, response["Content-Length"], _sent(response)) == (200, "0", 0)
    assert serve(stored, size=0, Range="bytes=0-").status_code == 416


class Pipe(io.RawIOBase):
    """Bytes that come in their order only."""

    def __init__(self, content: bytes):
        self._content = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._content.readinto(buffer)


class PipeStorage(InMemoryStorage):
    """A storage that is no folder, and whose files cannot be sought in."""

    def _open(self, name: str, mode: str = "rb") -> "File[Any]":
        return File(Pipe(super()._open(name, mode).read()), name)


def test_a_file_that_cannot_be_sought_in_is_sent_and_resumed(settings: Any) -> None:
    backend = f"{__name__}.{PipeStorage.__name__}"
    settings.STORAGES = {**settings.STORAGES, "pipe": {"BACKEND": backend}}
    settings.ASYNC_DOWNLOADS_STORAGE = "pipe"
    content = bytes(range(250)) * 1000
    stored = storage.storage().save("downloads/key/a.bin", ContentFile(content))
    with closing(serve(stored, size=len(content))) as response:
        assert response["Content-Length"] == "250000"
        assert b"".join(response) == content
    with closing(serve(stored, size=len(content), Range="bytes=200000-200009")) as response:
        assert b"".join(response) == content[200_000:200_010]


def _sent(response: FileResponse) -> int:
    return sum(len(piece) for piece in cast("Iterator[bytes]", response))


async def _sent_by_asgi(response: Any) -> int:
    return sum([len(piece) async for piece in cast("AsyncIterable[bytes]", response)])
