"""The table of failures quotes what people see, and names what exists."""

import ast
import re
from itertools import chain

import pytest

from async_downloads import settings
from tests.docs.helpers import sources
from tests.snippets import PAGES

pytestmark = pytest.mark.any_database

PAGE = "docs/explanation/failures.md"

TEXT = PAGES[PAGE].text

HEADER = "| fault | what people see | what the operator does |"


def rows() -> list[list[str]]:
    lines = [line for line in TEXT.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return [row for row in cells if row[0] not in ("fault", "---")]


def texts_of_the_package() -> set[str]:
    trees = (ast.parse(path.read_text()) for path in sources())
    nodes = chain.from_iterable(map(ast.walk, trees))
    return {
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def test_each_quoted_text_is_one_of_the_package() -> None:
    quoted = {text for _, seen, _ in rows() for text in re.findall(r'"([^"]+)"', seen)}
    assert len(quoted) > 6
    assert quoted - texts_of_the_package() == set()


def test_the_named_settings_exist() -> None:
    named = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)*)`", TEXT))
    assert named
    assert named <= settings.DEFAULTS.keys()


def test_the_named_checks_exist() -> None:
    checks = PAGES["docs/reference/checks.md"].headings
    assert set(re.findall(r"`([EW]\d{3})`", TEXT)) <= set(checks)
