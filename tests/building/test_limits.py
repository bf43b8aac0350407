"""The limits on the size of a file."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as project_settings
from django.test import Client

from async_downloads import cache
from async_downloads.building import limits
from async_downloads.exceptions import DownloadError
from async_downloads.models import Download

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]


def made(user: Any, **what: Any) -> Download:
    """Save a download, and return its row."""
    key = cache.init_download(user, "orders.csv")[1]
    cache.save_download(key, **what)
    return Download.objects.get(pk=key)


def files() -> list[Path]:
    return [path for path in Path(project_settings.MEDIA_ROOT).rglob("*") if path.is_file()]


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_rows_up_to_the_limit_are_written(settings: Any, user: Any, rows: int) -> None:
    settings.ASYNC_DOWNLOADS_MAX_ROWS = 3
    download = made(user, iterable=([number] for number in range(rows)))
    assert download.complete
    (file,) = files()
    assert file.read_text().count("\n") == rows


def test_one_row_more_fails_with_the_limit(settings: Any, user: Any, signed_in: Client) -> None:
    settings.ASYNC_DOWNLOADS_MAX_ROWS = 3
    download = made(user, iterable=([number] for number in range(4)))
    assert download.failed
    assert (
        download.errors == "The file would exceed the limit of 3 rows. Please request fewer rows."
    )
    assert (download.url, files()) == ("", [])
    page = signed_in.get("/async_downloads/list/").text
    assert download.errors in page
    assert "Complete" not in page


def test_no_more_than_one_row_above_the_limit_is_read(settings: Any, user: Any) -> None:
    settings.ASYNC_DOWNLOADS_MAX_ROWS = 3
    asked, closed = [], []

    def rows() -> Iterator[list[int]]:
        try:
            for number in range(100):
                asked.append(number)
                yield [number]
        finally:
            closed.append(True)

    made(user, iterable=rows())
    assert (asked, closed) == ([0, 1, 2, 3], [True])


def test_without_a_limit_the_rows_are_returned_unchanged() -> None:
    rows = iter([])
    assert limits.rows_within_limit(rows) is rows


@pytest.mark.parametrize("memory", [1, 5_000_000], ids=["disk", "memory"])
@pytest.mark.parametrize("kind", ["rows", "file"])
@pytest.mark.parametrize(("size", "fits"), [(100_000, True), (100_001, False)])
def test_a_file_may_not_be_larger_than_the_limit(
    settings: Any, user: Any, size: int, fits: bool, kind: str, memory: int
) -> None:
    settings.ASYNC_DOWNLOADS_MAX_BYTES = 100_000
    settings.ASYNC_DOWNLOADS_IN_MEMORY_MAX_SIZE_BYTES = memory
    # Four bytes for each row, and one row for the rest.
    odd = [["a" * (size % 4 + 3)]]
    rows = [["abc"]] * (size // 4 - 1)
    what = {"iterable": [*rows, *odd]} if kind == "rows" else {"file": io.BytesIO(b"a" * size)}
    download = made(user, **what)
    if fits:
        assert (download.complete, download.size) == (True, size)
        assert files()[0].stat().st_size == size
    else:
        assert download.failed
        assert (
            download.errors
            == "The file would exceed the limit of 97.7\xa0KB. Please request less data."
        )
        assert files() == []


def test_bytes_up_to_the_limit_can_be_read_again(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_MAX_BYTES = 4
    with limits.Spool(max_size=100) as spool:
        spool.write(b"abcd")
        with pytest.raises(DownloadError):
            spool.write(b"e")
        spool.seek(0)
        assert spool.read() == b"abcd"
