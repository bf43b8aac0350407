"""The blocks of the other pages, followed word by word on sites that finished the tutorial."""

import re
from itertools import groupby
from pathlib import Path

import django
import pytest

from tests.faults.followed import CONTINUING, Readers
from tests.faults.processes import free_port
from tests.snippets import PAGES, TUTORIAL, Block, Page

#: Imports modules, and checks the site in the same process, as each costs a second.
CHECK = (
    "python manage.py shell -c 'import {imports}; "
    'from django.core.management import call_command; call_command("check")\''
)

#: Blocks that are skipped, as they need packages that the tests do not install.
NOT_FOLLOWED: set[tuple[str, str]] = {
    ("docs/how-to/monitoring.md", "ASYNC_DOWNLOADS_METRICS"),
    ("docs/how-to/monitoring.md", "from prometheus_client"),
    ("docs/how-to/monitoring.md", "from orders.metrics"),
    ("docs/how-to/task-queues.md", "from rq import"),
}


@pytest.mark.parametrize("path", CONTINUING)
def test_the_blocks_of_a_page_fit_into_the_site(
    readers: Readers, tmp_path: Path, path: str
) -> None:
    reader = readers.finished_tutorial().copy(tmp_path, free_port())
    for chapter in chapters(PAGES[path]):
        modules: set[str] = set()
        for block in chapter:
            reader.follow(block for block in block.after if block not in PAGES[TUTORIAL].blocks)
            name = block.file.removesuffix(".py").replace("/", ".")
            if name in modules:
                # The block replaces an alternative, which has to work as well.
                reader.type(f"python manage.py shell -c 'import {name}'")
            reader.follow([block])
            if block.in_the_site and block.file.endswith(".py"):
                modules.add(name.removesuffix(".__init__"))
        assert "no issues" in reader.type(
            CHECK.format(imports=", ".join(["sys", *sorted(modules)]))
        )


def chapters(page: Page) -> list[list[Block]]:
    """Return the blocks of each chapter that this environment can follow."""
    followed = [
        block
        for block in page.blocks
        if not any(block.page == path and text in block.body for path, text in NOT_FOLLOWED)
        and required_django(block) <= django.VERSION
    ]
    return [list(group) for _, group in groupby(followed, lambda block: block.chapter)]


def required_django(block: Block) -> tuple[int, ...]:
    """Return the version of Django that a block requires, from the line above it."""
    match = re.search(r"on Django (\d+)\.(\d+) or newer", block.above)
    return tuple(map(int, match.groups())) if match else ()
