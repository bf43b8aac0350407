"""A stored file to a response."""

import asyncio
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
from django.core.files.storage import FileSystemStorage
from django.http import FileResponse

from async_downloads import files
from async_downloads.serving import serve

MEGABYTE = 1 << 20


@pytest.fixture
def path() -> str:
    return files.storage().save("downloads/key/orders.csv", ContentFile(b"a,b\n" * 10_000))


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


def test_the_name_is_what_people_know_it_by_and_not_where_it_lies(path: str) -> None:
    with closing(serve(path, "mine.csv")) as response:
        assert "mine.csv" in response["Content-Disposition"]
        assert not any("downloads/key" in value for value in response.headers.values())


def test_a_file_that_the_storage_no_longer_has_is_not_found(path: str) -> None:
    files.remove(path)
    with pytest.raises(FileNotFoundError):
        serve(path, "orders.csv")


class RememberingStorage(FileSystemStorage):
    """A storage that knows what it opened."""

    opened: ClassVar[list["File[bytes]"]] = []

    def _open(self, name: str, mode: str = "rb") -> "File[bytes]":
        self.opened.append(super()._open(name, mode))
        return self.opened[-1]


@pytest.mark.parametrize("read", [True, False], ids=["read", "not read"])
def test_the_file_is_closed_with_the_response(path: str, read: bool, settings: Any) -> None:
    backend = f"{__name__}.{RememberingStorage.__name__}"
    settings.STORAGES = {**settings.STORAGES, "default": {"BACKEND": backend}}
    response = serve(path, "orders.csv")
    opened = RememberingStorage.opened.pop()
    assert not opened.closed
    if read:
        assert _sent(response) == 40_000
    response.close()
    assert opened.closed


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_large_file_is_served_in_constant_memory(large_path: str, kind: str) -> None:
    # "async" is how Django sends a response under ASGI. There it warns of an iterator
    # that would have to be read whole first, and warnings are errors here.
    response = serve(large_path, "large.csv")
    tracemalloc.start()
    try:
        sent = _sent(response) if kind == "sync" else asyncio.run(_sent_by_asgi(response))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        response.close()
    assert sent == 64 * MEGABYTE
    assert peak < 8 * MEGABYTE


def _sent(response: FileResponse) -> int:
    return sum(len(piece) for piece in cast("Iterator[bytes]", response))


async def _sent_by_asgi(response: Any) -> int:
    return sum([len(piece) async for piece in cast("AsyncIterable[bytes]", response)])
