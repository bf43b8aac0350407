"""What a process leaves in the folder for temporary files when it is killed. Case 55."""

from pathlib import Path
from typing import Final

import pytest

from tests.faults.harness import NewSite, eventually

#: Writes rows until it is killed, and says when there are many.
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


def unnamed(pid: int, folder: Path) -> list[str]:
    """Return the files in a folder that a process has open and that have no name."""
    targets = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            targets.append(str(link.readlink()))
        except FileNotFoundError:
            continue
    return [each for each in targets if each.startswith(str(folder)) and "(deleted)" in each]


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
def test_case_55_a_kill_leaves_no_temporary_file(
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
        # There is something on disk by now, and it is gone with the process.
        assert unnamed(child.pid, folder)
        child.kill()
    assert list(folder.iterdir()) == []
    assert site.files() == []
