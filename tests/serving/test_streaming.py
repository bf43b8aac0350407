"""Django sends a stored file: headers, ranges and conditions."""

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
from tests.files.test_names import header_name

LARGE = 32 << 20
ETAG = '"of-this-content"'


def serve(
    path: str, filename: str = "orders.csv", method: str = "GET", size: int = 40_000, **headers: str
) -> Any:
    """Return the response to a request; ``If_Range`` becomes the header ``If-Range``."""
    dashed = {name.replace("_", "-"): value for name, value in headers.items()}
    request = RequestFactory().generic(method, "/", headers=dashed)
    return serving.serve(request, serving.Attachment(path, filename, size, ETAG))


@pytest.fixture
def path() -> str:
    return storage.storage().save("downloads/key/orders.csv", ContentFile(b"a,b\n" * 10_000))


@pytest.fixture
def large_path() -> Iterator[str]:
    path = Path(project_settings.MEDIA_ROOT) / "downloads" / "key" / "large.csv"
    path.parent.mkdir(parents=True)
    with path.open("wb") as large:
        large.truncate(LARGE)
    yield "downloads/key/large.csv"
    path.unlink()


def test_the_whole_file_is_sent(path: str) -> None:
    with closing(serve(path, "orders.csv")) as response:
        assert b"".join(cast("Iterator[bytes]", response)) == b"a,b\n" * 10_000
        assert response.status_code == 200
        assert response["Content-Length"] == "40000"


@pytest.mark.parametrize("filename", ["a.csv", "x.html", "x.svg", "x.xhtml", "x.js", "x", ""])
def test_each_file_is_an_attachment_never_sniffed_and_never_cached_for_others(
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
def test_an_ascii_name_is_sent_in_quotes(path: str, filename: str) -> None:
    quoted = filename.replace("\\", "\\\\").replace('"', '\\"')
    with closing(serve(path, filename)) as response:
        assert response["Content-Disposition"] == f'attachment; filename="{quoted}"'


@pytest.mark.parametrize("filename", ["Größe.csv", "名前.csv", "🙂.csv", "naïve; x.csv"])
def test_any_other_name_is_sent_as_unicode(path: str, filename: str) -> None:
    with closing(serve(path, filename)) as response:
        charset, _, name = response["Content-Disposition"].partition("filename*=")[2].split("'")
        assert charset == "utf-8"
        assert unquote(name) == filename
        # A header must be ASCII.
        assert response["Content-Disposition"].isascii()


@pytest.mark.parametrize(
    "filename", ["x" * 251 + ".csv", "名" * 83 + ".csv", "é" * 124 + ".csv.gz"]
)
def test_a_name_that_fits_a_file_system_is_not_shortened(path: str, filename: str) -> None:
    with closing(serve(path, filename)) as response:
        assert header_name(response["Content-Disposition"]) == filename


@pytest.mark.parametrize("way", serving.METHODS)
@pytest.mark.parametrize("char", ["x", '"', "\\", "é", "名", "👩", "e\u0301", "."])
@pytest.mark.parametrize("extension", [".csv", ".csv.gz", ".xlsx.zip", "", "." + "y" * 3000])
def test_no_name_makes_headers_too_long_for_a_web_server(
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
            name = header_name(response["Content-Disposition"])
            assert len(name.encode()) <= 255
            assert filename.startswith(name[:20])
            if len(extension) < 20:
                assert name.endswith(extension)


@pytest.mark.parametrize(
    "kind", ["x/" + "y" * 5000, "text/csv\r\nSet-Cookie: a=b", "text/é", "none", "", "a/b\0"]
)
def test_a_content_type_that_is_not_a_valid_header_is_replaced(
    path: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = formats.Format("odd", (".oddity",), kind, formats.registry.CSV.write)
    monkeypatch.setitem(formats.registry._formats, "odd", odd)
    with closing(serve(path, "orders.oddity")) as response:
        assert response["Content-Type"] == "application/octet-stream"
    monkeypatch.setitem(mimetypes.types_map, ".peculiar", kind)
    with closing(serve(path, "orders.peculiar")) as response:
        assert response["Content-Type"] == "application/octet-stream"


def test_the_headers_have_the_filename_and_not_the_path(path: str) -> None:
    with closing(serve(path, "mine.csv")) as response:
        assert "mine.csv" in response["Content-Disposition"]
        assert not any("downloads/key" in value for value in response.headers.values())


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("way", serving.METHODS)
def test_a_file_that_is_missing_from_the_storage_raises_file_not_found(
    path: str, way: str, method: str, settings: Any
) -> None:
    settings.ASYNC_DOWNLOADS_SERVE = way
    storage.remove(path)
    with pytest.raises(FileNotFoundError):
        serve(path, method=method)


class RememberingStorage(FileSystemStorage):
    """A storage that remembers the files that it opened."""

    opened: ClassVar[list["File[bytes]"]] = []

    def _open(self, name: str, mode: str = "rb") -> "File[bytes]":
        self.opened.append(super()._open(name, mode))
        return self.opened[-1]


REQUESTS: dict[str, dict[str, str]] = {
    "whole": {},
    "a part": {"Range": "bytes=5-9"},
    "headers": {"method": "HEAD"},
    "a part behind the end": {"Range": "bytes=40000-"},
    "a matching tag": {"If_None_Match": ETAG},
    "another tag": {"If_Match": '"other"'},
}


@pytest.mark.parametrize("headers", REQUESTS.values(), ids=REQUESTS)
@pytest.mark.parametrize("read", [True, False], ids=["read", "not read"])
def test_the_file_is_closed_with_the_response(
    path: str, read: bool, headers: Any, settings: Any
) -> None:
    backend = f"{__name__}.{RememberingStorage.__name__}"
    settings.STORAGES = {**settings.STORAGES, "default": {"BACKEND": backend}}
    response = serve(path, **headers)
    opened = RememberingStorage.opened.pop()
    assert opened.closed is not (response.streaming)
    if read:
        assert _sent(response) == {200: 40_000, 206: 5}.get(response.status_code, 0) * (
            response.streaming
        )
    response.close()
    assert opened.closed


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=1-"}], ids=["whole", "a part"])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_large_file_is_served_in_constant_memory(
    large_path: str, kind: str, headers: Any
) -> None:
    # "async": under ASGI, Django warns if it must read an iterator as a whole first, and
    # warnings are errors here.
    response = serve(large_path, "large.csv", **headers)
    tracemalloc.start()
    try:
        sent = _sent(response) if kind == "sync" else asyncio.run(_sent_by_asgi(response))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        response.close()
    assert sent == LARGE - bool(headers)
    assert peak < LARGE / 4


@pytest.mark.parametrize(
    ("filename", "content_type"),
    [
        ("a.csv", "text/csv"),
        ("a.csv.gz", "application/gzip"),
        ("a.xyzzy", "application/octet-stream"),
        ("", "application/octet-stream"),
    ],
)
def test_the_content_type_follows_the_extension(
    path: str, filename: str, content_type: str
) -> None:
    with closing(serve(path, filename)) as response:
        assert response["Content-Type"] == content_type


def test_slashes_are_kept_and_line_breaks_are_dropped_from_a_name(path: str) -> None:
    with closing(serve(path, "a/b\r\nSet-Cookie: x.csv")) as response:
        assert response["Content-Disposition"] == 'attachment; filename="a/bSet-Cookie: x.csv"'


# Ranges and conditions, by which a client resumes


@pytest.mark.parametrize(
    ("header", "first", "last"),
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
def test_the_response_to_a_range_has_those_bytes(
    path: str, header: str, first: int, last: int
) -> None:
    with closing(serve(path, Range=header)) as response:
        assert response.status_code == 206
        assert response["Content-Range"] == f"bytes {first}-{last}/40000"
        assert response["Content-Length"] == str(last - first + 1)
        assert b"".join(response) == (b"a,b\n" * 10_000)[first : last + 1]


@pytest.mark.parametrize("header", ["bytes=40000-", "bytes=40000-40001", "bytes=-0"])
def test_a_range_behind_the_end_is_416_with_the_size(path: str, header: str) -> None:
    response = serve(path, Range=header)
    assert response.status_code == 416
    assert response["Content-Range"] == "bytes */40000"


@pytest.mark.parametrize(
    "header",
    ["bytes=5-2", "bytes=-", "bytes=0-1,5-6", "lines=1-2", "bytes", "bytes=a-b", "bytes=１-2", ""],
)
def test_the_response_to_anything_but_one_range_is_the_whole_file(path: str, header: str) -> None:
    with closing(serve(path, Range=header)) as response:
        assert (response.status_code, _sent(response)) == (200, 40_000)
        assert response["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize(
    ("condition", "status"),
    [(ETAG, 206), ('"other"', 200), (f"W/{ETAG}", 200), ("Sat, 31 Jan 2026 09:05:00 GMT", 200)],
)
def test_a_range_of_changed_content_is_not_sent(path: str, condition: str, status: int) -> None:
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
def test_conditions_are_checked_before_the_range(
    path: str, condition: str, value: str, status: int
) -> None:
    with closing(serve(path, Range="bytes=5-9", **{condition: value})) as response:
        assert response.status_code == status


def test_the_etag_is_strong(path: str) -> None:
    with closing(serve(path)) as response:
        assert response["ETag"] == ETAG


def test_head_sends_the_same_headers_and_no_content(path: str) -> None:
    with (
        closing(serve(path)) as got,
        closing(serve(path, method="HEAD", Range="bytes=1-2")) as head,
    ):
        assert (head.status_code, head.content) == (200, b"")
        assert dict(head.headers) == dict(got.headers)


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=0-"}], ids=["whole", "a part"])
def test_no_middleware_compresses_the_file(path: str, headers: Any) -> None:
    request = RequestFactory().get("/", headers={"Accept-Encoding": "gzip"})
    with closing(serve(path, **headers)) as served:
        response: Any = GZipMiddleware(lambda request: served)(request)
        assert response["Content-Length"] == "40000"
        # With it, Firefox would not notice that a transfer was cut.
        assert "Content-Encoding" not in response.headers
        assert b"".join(response) == b"a,b\n" * 10_000


def test_an_empty_file_is_sent_whole(path: str) -> None:
    stored = storage.storage().save("downloads/key/empty.csv", ContentFile(b""))
    with closing(serve(stored, size=0)) as response:
        assert (response.status_code, response["Content-Length"], _sent(response)) == (200, "0", 0)
    assert serve(stored, size=0, Range="bytes=0-").status_code == 416


class Pipe(io.RawIOBase):
    """A stream that cannot seek."""

    def __init__(self, content: bytes):
        self._content = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._content.readinto(buffer)


class PipeStorage(InMemoryStorage):
    """A storage without a folder, whose files cannot seek."""

    def _open(self, name: str, mode: str = "rb") -> "File[Any]":
        return File(Pipe(super()._open(name, mode).read()), name)


def test_a_file_that_cannot_seek_is_sent_and_resumed(settings: Any) -> None:
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
