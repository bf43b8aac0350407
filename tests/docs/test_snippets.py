"""Every block of every page runs in a test, and says where it goes."""

import importlib
import posixpath
import re
from typing import Any

import pytest

from tests.snippets import PAGES, ROOT, Page, slug

pytestmark = pytest.mark.any_database

#: Blocks in these languages go into a file.
IN_FILES = {"python", "ini"}

#: What a block of text may be instead of tested.
NOT_CODE = {"a drawing", "output"}

PROJECT = "https://github.com/QuickRelease/django-async-downloads/"


def parametrized(pages: list[Page]) -> Any:
    return pytest.mark.parametrize("page", pages, ids=lambda page: page.path)


every_page = parametrized(list(PAGES.values()))


@parametrized([page for page in PAGES.values() if page.blocks])
def test_every_block_is_covered_by_a_test(page: Page) -> None:
    module = importlib.import_module(page.module)
    assert page.path == module.PAGE
    covered: dict[str, str] = module.COVERED
    for block in page.blocks:
        body = f"\n{block.body}"
        assert [text for text in covered if text in body], f"no test runs this:{body}"
    for text, test in covered.items():
        blocks = [block for block in page.blocks if text in f"\n{block.body}"]
        assert blocks, f"no block contains {text!r}"
        if test in NOT_CODE:
            assert {block.language for block in blocks} == {"text"}, text
        else:
            assert callable(getattr(module, test, None)), f"{module.__name__} has no {test}"


@every_page
def test_every_fence_is_read(page: Page) -> None:
    fences = re.findall(r"^\s*(?:```|~~~)", page.text, re.MULTILINE)
    directives = re.findall(r"^```\{", page.text, re.MULTILINE)
    assert len(fences) == 2 * (len(page.blocks) + len(directives))


@every_page
def test_every_block_says_where_it_goes(page: Page) -> None:
    for block in page.blocks:
        if block.language in IN_FILES:
            assert block.file, block
        elif block.language == "console":
            assert block.terminal, block
        elif block.language != "text":
            assert block.file or " in " in block.above, block


@every_page
def test_every_link_leads_to_a_file_and_a_heading(page: Page) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.text):
        path, _, anchor = target.partition("#")
        if path.startswith(PROJECT):
            found = re.fullmatch(rf"{PROJECT}(?:blob|tree|raw)/main/(.*)", path)
            name = found[1] if found else ""
        elif re.match(r"[a-z]+:", path):
            continue
        else:
            name = posixpath.normpath(posixpath.join(posixpath.dirname(page.path), path or "."))
            name = name if path else page.path
        assert (ROOT / name).exists(), target
        if anchor:
            assert anchor in map(slug, PAGES[name].headings), target
