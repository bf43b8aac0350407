"""A reader of the documentation, who makes a site in a new virtual environment."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Final, Self

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests import services
from tests.faults.processes import ROOT, Child
from tests.pace import LONGEST_WAIT
from tests.snippets import Block

__all__ = ["Reader", "pack"]

#: Prefixes of environment variables that would influence the new site.
OUR_VARIABLES: Final = ("PYTHON", "DJANGO", "VIRTUAL_ENV", "TEST_", "PIP_", "PYTEST_")

PACKAGE: Final = "django-async-downloads"


class Reader:
    """Follows code blocks in their order, and adds nothing.

    Attributes:
        folder: The current folder of the first terminal.
    """

    def __init__(self, folder: Path, port: int, wheels: Path):
        self.folder = folder
        self._port = port
        self._state = folder / ".terminal"
        self._state.mkdir(exist_ok=True)
        # Nothing is downloaded: pip finds only the packages that these tests run with.
        self._outside = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(OUR_VARIABLES)
            },
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_FIND_LINKS": str(wheels),
            "PIP_NO_COMPILE": "1",
            "PIP_NO_INDEX": "1",
            "PYTHONUNBUFFERED": "1",
        }
        self._inside = self._outside

    def copy(self, folder: Path, port: int) -> Self:
        """Return a reader with a copy of the site, which may be changed independently."""
        other = type(self)(folder, port, Path(self._outside["PIP_FIND_LINKS"]))
        other._inside = self._inside
        other.folder = folder / self.folder.name
        shutil.copytree(self.folder, other.folder)
        # A virtual environment works only at the path where it was made.
        (folder / "venv").symlink_to(self._inside["VIRTUAL_ENV"])
        return other

    def save(self) -> None:
        """Save what another process needs to continue: see ``saved``."""
        state = [str(self.folder), self._port, self._outside["PIP_FIND_LINKS"], self._inside]
        (self._state / "reader.json").write_text(json.dumps(state))

    @classmethod
    def saved(cls, folder: Path) -> Self:
        """Return the reader that was saved in a folder."""
        state = json.loads((folder / ".terminal/reader.json").read_text())
        current, port, wheels, inside = state
        reader = cls(folder, port, Path(wheels))
        reader.folder, reader._inside = Path(current), inside
        return reader

    def follow(self, blocks: Iterable[Block]) -> str:
        """Put blocks into their files and type them into the first terminal.

        Returns:
            The output of the last command.
        """
        output = ""
        for block in blocks:
            if block.in_the_site:
                self._write(block)
            elif block.terminal == "a":
                output = self.type(block.body)
        return output

    def type(self, lines: str) -> str:
        """Type lines into the first terminal, and return their output."""
        state = f"pwd >{self._state}/folder\nenv -0 >{self._state}/environment"
        done = subprocess.run(
            ["bash", "-e", "-c", f"{self.read(lines)}\n{state}"],
            cwd=self.folder,
            env=self._inside,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LONGEST_WAIT,
            check=False,
        )
        assert done.returncode == 0, f"{lines}\n{done.stdout}"
        self.folder = Path((self._state / "folder").read_text().rstrip("\n"))
        pairs = (self._state / "environment").read_text().rstrip("\0").split("\0")
        self._inside = dict(pair.split("=", 1) for pair in pairs)
        return done.stdout

    def start(self, block: Block) -> Child:
        """Type a block into a new terminal, in the folder of the first one."""
        arguments = ["bash", "-e", "-c", self.read(block.body)]
        log = self._state / f"{block.body.split()[-1]}.log"
        return Child(arguments, env=self._outside, log=log, cwd=self.folder)

    def _write(self, block: Block) -> None:
        path = self.folder / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        before = f"{path.read_text()}\n\n" if block.at_the_end else ""
        path.write_text(before + self.read(block.body))

    def read(self, text: str) -> str:
        """Return a text with the port and the Redis of this test."""
        text = re.sub(r"\b8000\b", str(self._port), text)
        return text.replace(services.DEFAULT_URLS["redis"], services.redis_url())


def pack(wanted: Iterable[str], folder: Path) -> None:
    """Make wheels of the installed packages that these requirements need.

    Args:
        wanted: Requirements, as pip accepts them.
        folder: The folder for the wheels.
    """
    waiting = [Requirement(text) for text in wanted]
    seen: set[tuple[str, str]] = set()
    while waiting:
        requirement = waiting.pop()
        package = distribution(requirement.name)
        extras = {(canonicalize_name(package.name), extra) for extra in ("", *requirement.extras)}
        if not extras - seen:
            continue
        seen |= extras
        for text in package.requires or ():
            needed = Requirement(text)
            if not needed.marker or any(
                needed.marker.evaluate({"extra": extra}) for _, extra in extras
            ):
                waiting.append(needed)
    for name in {name for name, _ in seen}:
        _wheel(distribution(name), folder)


def _wheel(package: Distribution, folder: Path) -> None:
    name = re.sub(r"[-_.]+", "_", package.name)
    info = f"{name}-{package.version}.dist-info"
    written = []
    with zipfile.ZipFile(folder / f"{name}-{package.version}-py3-none-any.whl", "w") as wheel:
        for inside, path in _files(package):
            wheel.write(path, inside)
            written.append(inside)
        for file in ("METADATA", "entry_points.txt"):
            if text := package.read_text(file):
                wheel.writestr(f"{info}/{file}", text)
                written.append(f"{info}/{file}")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
        record = io.StringIO()
        csv.writer(record).writerows(
            (path, "", "") for path in [*written, f"{info}/WHEEL", f"{info}/RECORD"]
        )
        wheel.writestr(f"{info}/RECORD", record.getvalue())


def _files(package: Distribution) -> Iterable[tuple[str, Path]]:
    """Return the files of an installed package: the path in the wheel, and the path here."""
    if canonicalize_name(package.name) == PACKAGE:
        # An editable install lists no files.
        paths = [path for path in (ROOT / "async_downloads").rglob("*") if path.is_file()]
        files = [(path.relative_to(ROOT).as_posix(), path) for path in paths]
    else:
        listed = package.files or ()
        files = [(path.as_posix(), Path(str(path.locate()))) for path in listed]
    return [
        (inside, path)
        for inside, path in files
        if not inside.startswith("..")
        and ".dist-info/" not in inside
        and "__pycache__" not in inside
        and path.is_file()
    ]
