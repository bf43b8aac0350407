"""The pages of the documentation, their code blocks, and the file that each block belongs to."""

import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

__all__ = ["PAGES", "QUICK_START", "ROOT", "TUTORIAL", "Block", "Page", "file_after", "slug"]

ROOT: Final = Path(__file__).resolve().parent.parent

TUTORIAL: Final = "docs/tutorial/first-export.md"

#: The chapter of the README that makes a site.
QUICK_START: Final = "Quick start"

#: A paragraph that ends with the path of a file, and possibly "at the end".
FILE: Final = r"(?:.*?[,:.]\**\s)?`([^`\s]*[/.][^`\s]*)`(, at the end)?(?:, .*)?:"


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page.

    Attributes:
        page: The path of its page.
        chapter: The heading above it.
        above: The paragraph above it, in one line, which says where the block goes.
        language: The language after the fence.
        body: The text between the fences.
    """

    page: str
    chapter: str
    above: str
    language: str
    body: str

    @property
    def file(self) -> str:
        """Return the path of the file that the block belongs to; empty if it belongs to none."""
        return self._place[1] if self._place else ""

    @property
    def at_the_end(self) -> bool:
        """Return whether the block is appended to the file; otherwise it is the whole file."""
        return bool(self._place and self._place[2])

    @property
    def in_the_site(self) -> bool:
        """Return whether the block goes into a file of the reader's site, not of the system."""
        return bool(self.file) and not self.file.startswith("/")

    @property
    def terminal(self) -> str:
        """Return the terminal to type it in: "a" for the first, "another", or an empty text."""
        match = re.search(
            r"\b[Ii]n (?:(a|the same|the first)|(another)) terminal\b[^:]*:$", self.above
        )
        return "" if match is None else match[2] or "a"

    @property
    def after(self) -> list["Block"]:
        """Return the blocks that come first: those of the pages and chapters linked in `above`."""
        blocks: list[Block] = []
        for path, anchor in re.findall(r"\]\(([\w./-]*)(?:#([\w-]+))?\)", self.above):
            name = posixpath.normpath(posixpath.join(posixpath.dirname(self.page), path))
            page = PAGES.get(name if path else self.page)
            if page is None or (not path and not anchor):
                continue
            blocks += [
                block for block in page.blocks if not anchor or slug(block.chapter) == anchor
            ]
        return blocks

    @property
    def _place(self) -> re.Match[str] | None:
        return re.fullmatch(FILE, self.above)


@dataclass(frozen=True)
class Page:
    """A page of the documentation.

    Attributes:
        path: Its path from the folder of the project.
        text: Its Markdown.
    """

    path: str
    text: str = field(repr=False)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """Return the fenced blocks in their order, without directives of Sphinx."""
        return tuple(self._read())

    @cached_property
    def headings(self) -> tuple[str, ...]:
        """Return the headings in their order."""
        prose = "".join(_split(self.text)[::3])
        return tuple(re.findall(r"^#+ (.*)$", prose, re.MULTILINE))

    @property
    def module(self) -> str:
        """Return the name of the module that tests the page."""
        name = self.path.removeprefix("docs/").removesuffix(".md").lower()
        return f"tests.docs.test_{re.sub('[^a-z0-9]+', '_', name)}"

    @property
    def continues(self) -> tuple[Block, ...]:
        """Return the blocks of the site that the page continues.

        This is the site of the tutorial if the page says so, and otherwise that of the quick start.
        """
        says_so = re.search(r"continues the site of \[the tutorial\]", self.text)
        if says_so and TUTORIAL in PAGES:
            return PAGES[TUTORIAL].blocks
        return () if self.path == TUTORIAL else tuple(PAGES["README.md"].in_chapter(QUICK_START))

    def in_chapter(self, heading: str) -> list[Block]:
        """Return the blocks directly below a heading."""
        return [block for block in self.blocks if block.chapter == heading]

    def snippets(self, language: str) -> list[str]:
        """Return the bodies of the blocks in a language."""
        return [block.body for block in self.blocks if block.language == language]

    def snippet(self, containing: str) -> str:
        """Return the body of the one block that contains a text."""
        return self._block(containing).body

    def placed(self, containing: str) -> str:
        """Return the file of a reader who has added the one block that contains a text.

        A block that goes at the end of a file comes after what the site that the
        page continues has in this file.
        """
        block = self._block(containing)
        assert block.file, f"The line above does not say where this goes:\n{block.body}"
        before = [other for other in self.continues if other != block]
        return file_after(block.file, [*before, block])

    def _block(self, containing: str) -> Block:
        blocks = [block for block in self.blocks if containing in block.body]
        assert len(blocks) == 1, f"{len(blocks)} blocks of {self.path} contain {containing!r}"
        return blocks[0]

    def _read(self) -> Iterator[Block]:
        parts = _split(self.text)
        chapter = ""
        for prose, language, body in zip(parts[::3], parts[1::3], parts[2::3], strict=False):
            chapter = [chapter, *re.findall(r"^#+ (.*)$", prose, re.MULTILINE)][-1]
            above = prose.strip().rpartition("\n\n")[2].replace("\n", " ")
            if not language.startswith("{"):
                yield Block(self.path, chapter, above, language, body)


def file_after(path: str, blocks: Iterable[Block]) -> str:
    """Return the text of a file of a reader who has followed blocks in their order."""
    parts: list[str] = []
    for block in blocks:
        if block.file == path:
            parts = [*parts, block.body] if block.at_the_end else [block.body]
    return "\n\n".join(parts)


def slug(heading: str) -> str:
    """Return the anchor that GitHub and MyST give a heading."""
    return re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-"))


def _split(text: str) -> list[str]:
    """Return prose, language and body in turn, with prose at both ends."""
    return re.split(r"^```([\w{}-]+)[^\n]*\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def _pages() -> Iterator[Page]:
    built = ROOT / "docs/_build"
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        if not path.is_relative_to(built):
            yield Page(path.relative_to(ROOT).as_posix(), path.read_text())


#: The pages by their paths.
PAGES: Final = {page.path: page for page in _pages()}
