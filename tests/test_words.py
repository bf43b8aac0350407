"""The words that the project avoids: see "How we write" in CONTRIBUTING.md."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]

#: Words that need a second reading, or that have a plainer word in the field.
AVOIDED: Final = (
    "told",
    r"(?<!\.)tell(?! ?\()",  # not the method of a file
    "tells",
    "nobody",
    "somebody",
    "whoever",
    "of ours",
    "none of its business",
    "asked for",
    "is no(?! longer)",
    "at it",
    "be had",
    "lets go",
    "sign of life",
    "signs of life",
    "fallen silent",
    "falls silent",
    "fell silent",
    "persistently",
    "impatient",
    "impatiently",
    "patience",
    "surely",
    "predecessor",
    "whole number",
    "the database that decides",
    "file in the making",
    "cut short",
    "time is up",
)

PATTERN: Final = re.compile(rf"\b(?:{'|'.join(AVOIDED)})\b", re.IGNORECASE)

#: Where an avoided word stands all the same, and why.
ALLOWED: Final = {
    ("tests/test_words.py", ""): "the list itself",
}

#: Written by other people, or history.
SKIPPED: Final = ("LICENSE", "CHANGELOG.md")

SUFFIXES: Final = (".py", ".md", ".html", ".js", ".css", ".toml", ".po", ".yml", ".yaml", ".txt")


def texts() -> Iterator[Path]:
    """Yield every text file of the project."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    names = listed.stdout.splitlines() or [
        path.relative_to(ROOT).as_posix()
        for folder in ("async_downloads", "demo", "docs", "tests")
        for path in (ROOT / folder).rglob("*")
    ]
    for name in names:
        path = ROOT / name
        if name.endswith(SUFFIXES) and name not in SKIPPED and path.is_file():
            yield path


def words(text: str) -> str:
    """Return a text with the words of its identifiers apart, so that they count too."""
    return text.replace("_", " ")


@pytest.mark.any_database
def test_no_text_uses_a_word_to_avoid() -> None:
    found = [
        f"{name}:{number}: {match[0]!r} in {line.strip()}"
        for path in texts()
        for name in [path.relative_to(ROOT).as_posix()]
        if (name, "") not in ALLOWED
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for match in PATTERN.finditer(words(line))
        if (name, match[0].lower()) not in ALLOWED
    ]
    assert not found, "\n" + "\n".join(found)


def test_each_word_to_avoid_is_found() -> None:
    for text in ("Nobody was told", "test_nobody_is_told", "what is asked for", "It is no file"):
        assert PATTERN.search(words(text)), text
    assert not PATTERN.search(words("It is no longer there, look at its name"))
