"""The README's quick start, followed word by word on a new site.

The site is in a new virtual environment, and consists only of what the page shows.
"""

from tests.faults.followed import Readers, expected, started
from tests.snippets import PAGES, QUICK_START


def test_the_quick_start_ends_with_a_file(readers: Readers) -> None:
    reader = readers.quick_start()
    assert "no issues" in reader.type("python manage.py check")
    blocks = PAGES["README.md"].in_chapter(QUICK_START)
    with started(reader, "README.md", blocks) as site:
        site.export()
        assert site.fetched() == expected(100_000)
