"""The blocks of the README, and where each of them says that it goes."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tests.faults.processes import ROOT

__all__ = ["BLOCKS", "README", "Block", "in_chapter", "placed", "snippet", "snippets"]

README: Final = (ROOT / "README.md").read_text()


@dataclass(frozen=True, slots=True)
class Block:
    """A block, and what stands above it.

    Attributes:
        chapter: The heading that it is below.
        above: The paragraph above it, in one line, which says where it goes.
        language: What it is written in.
        body: The text between the fences.
    """

    chapter: str
    above: str
    language: str
    body: str

    @property
    def file(self) -> str:
        """The path of the file that it belongs to; empty if it belongs to none."""
        return self._place[1] if self._place else ""

    @property
    def at_the_end(self) -> bool:
        """Whether it comes after what is in the file, and is not the whole of it."""
        return bool(self._place and self._place[2])

    @property
    def terminal(self) -> str:
        """The terminal that it is typed in: "a" for the first, "another", or none."""
        found = re.search(r"\b[Ii]n (a|another) terminal\b[^:]*:$", self.above)
        return found[1] if found else ""

    @property
    def after(self) -> list[str]:
        """The chapters that the paragraph above it refers to, which come first."""
        return [
            chapter
            for link in re.findall(r"\]\(#([\w-]+)\)", self.above)
            for chapter in dict.fromkeys(block.chapter for block in BLOCKS)
            if re.sub(r"[^\w-]", "", chapter.lower().replace(" ", "-")) == link
        ]

    @property
    def _place(self) -> re.Match[str] | None:
        return re.fullmatch(r"`([^`]+)`(, at the end)?(?:, .*)?:", self.above)


def _blocks() -> Iterator[Block]:
    parts = re.split(r"^```(\w+)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
    chapter = ""
    for prose, language, body in zip(parts[::3], parts[1::3], parts[2::3], strict=False):
        chapter = [chapter, *re.findall(r"^#+ (.*)$", prose, re.MULTILINE)][-1]
        above = prose.strip().rpartition("\n\n")[2].replace("\n", " ")
        yield Block(chapter, above, language, body)


BLOCKS: Final = tuple(_blocks())


def in_chapter(chapter: str) -> list[Block]:
    """Return the blocks below a heading, in their order."""
    return [block for block in BLOCKS if block.chapter == chapter]


def snippets(language: str) -> list[str]:
    """Return the bodies of the blocks in a language."""
    return [block.body for block in BLOCKS if block.language == language]


def snippet(containing: str) -> str:
    """Return the body of the one block that holds a text."""
    (block,) = [block for block in BLOCKS if containing in block.body]
    return block.body


def placed(containing: str) -> str:
    """Return the file that a reader has who has put the block with this text where it goes.

    That is the block, below what the quick start has in this file if it comes at the end.
    """
    (block,) = [block for block in BLOCKS if containing in block.body]
    assert block.file, f"The line above does not say where this goes:\n{block.body}"
    before = [
        each.body
        for each in in_chapter("Quick start")
        if block.at_the_end and each.file == block.file and each != block
    ]
    return "\n\n".join([*before, block.body])
