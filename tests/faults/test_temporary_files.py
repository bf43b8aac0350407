"""Files that a killed process leaves in the folder for temporary files."""

from pathlib import Path
from typing import Final

import pytest

from tests.faults.harness import NewSite, eventually
from tests.faults.processes import open_files

#: Writes rows until it is killed, and creates a file once there are many.
EXPORT: Final = """
import itertools
import tempfile
import uuid
from pathlib import Path

tempfile.tempdir = {folder!r}

from async_downloads import cache
from async_downloads.formats import Rows


def rows():
    for number in itertools.count():
        if number == 20_000:
            Path({marker!r}).touch()
        yield [number, uuid.uuid4(), "some text"]


key = cache.init_download("ada", {filename!r})[1]
cache.save_download(key, **{{{argument!r}: {content}}})
"""


def unnamed_files(pid: int, folder: Path) -> list[str]:
    """Return the files without a name in a folder that a process has open."""
    prefix = str(folder)
    return [name for name in open_files(pid) if name.startswith(prefix) and "(deleted)" in name]


@pytest.mark.parametrize(
    ("filename", "argument", "content"),
    [
        ("orders.csv", "iterable", "rows()"),
        ("orders.xlsx", "iterable", "rows()"),
        ("orders.jsonl.gz", "iterable", "rows()"),
        ("orders.xlsx.zip", "iterable", "rows()"),
        ("orders.zip", "members", '{"first.csv": [["a"]], "orders.xlsx": Rows(rows(), ["a"])}'),
    ],
)
def test_a_kill_leaves_no_temporary_file(
    new_site: NewSite, tmp_path: Path, filename: str, argument: str, content: str
) -> None:
    folder, marker = tmp_path / "temporary", tmp_path / "there are many"
    folder.mkdir()
    site = new_site(ASYNC_DOWNLOADS_IN_MEMORY_MAX_SIZE_BYTES=1000)
    code = EXPORT.format(
        folder=str(folder),
        marker=str(marker),
        filename=filename,
        argument=argument,
        content=content,
    )
    with site.start(code) as child:
        eventually(lambda: marker.exists() or not child.alive, why="many rows")
        assert child.alive, child.log
        assert list(folder.iterdir()) == []
        # The file on disk has no name, so the system deletes it with the process.
        assert unnamed_files(child.pid, folder)
        child.kill()
    assert list(folder.iterdir()) == []
    assert site.files() == []
