"""The page on events has each event of the package's script."""

import re

import pytest

from tests.docs.helpers import ROOT, rows_of
from tests.snippets import PAGES

pytestmark = pytest.mark.any_database

PAGE = "docs/reference/events.md"

TEXT = PAGES[PAGE].text

SCRIPT = (ROOT / "async_downloads/static/js/async_downloads_centre.js").read_text()

ROWS = rows_of(TEXT, "| event | on | who sends it | meaning |")


def test_the_table_has_each_event() -> None:
    # tests/browser sees that they are sent.
    documented = {row[0].strip("`") for row in ROWS}
    assert documented == set(re.findall(r'"(async-downloads:\w+)"', SCRIPT))


def test_an_event_is_sent_on_the_element_of_the_table() -> None:
    publish = re.search(r"const publish = .* (document\.body)\.dispatchEvent", SCRIPT)
    assert publish
    for event, element, _, _ in ROWS:
        name = event.strip("`")
        if f'publish("{name}")' in SCRIPT:
            assert element == f"`{publish[1]}`"
        else:
            assert f'document.dispatchEvent(new Event("{name}"))' in SCRIPT
            assert element == "`document`"


def test_the_named_data_is_in_the_pages() -> None:
    markup = "".join(
        path.read_text()
        for path in (ROOT / "async_downloads/templates/async_downloads").glob("*.html")
    )
    for name, place, _ in rows_of(TEXT, "| name | on | meaning |"):
        text = name.strip("`")
        assert f'"{text}"' in SCRIPT if "localStorage" in place else text in markup
