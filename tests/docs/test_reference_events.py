"""The page on events has each event of the package's script."""

import inspect
import re

import pytest

from async_downloads.centre import rendering
from tests.docs.helpers import ROOT, rows_of
from tests.snippets import PAGES

pytestmark = pytest.mark.any_database

PAGE = "docs/reference/events.md"

TEXT = PAGES[PAGE].text

SCRIPT = (ROOT / "async_downloads/static/js/async_downloads_centre.js").read_text()

ROWS = rows_of(TEXT, "| event | on | who sends it | meaning |")

#: The events that the script listens to, and a response or a page sends.
HEARD = {"async-downloads:look", "async-downloads:show"}

#: The event that a response sends, by a header of htmx.
SENT = set(re.findall(r'"(async-downloads:\w+)"', inspect.getsource(rendering)))


def test_the_table_has_each_event() -> None:
    # tests/browser sees that they are sent.
    documented = {row[0].strip("`") for row in ROWS}
    assert documented == set(re.findall(r'"(async-downloads:\w+)"', SCRIPT)) | SENT


def test_an_event_is_sent_on_the_element_of_the_table() -> None:
    for event, element, _, _ in ROWS:
        name = event.strip("`")
        if name in HEARD:
            assert f'listen("{name}"' in SCRIPT
        elif name not in SENT:
            assert f'{element.strip("`")}.dispatchEvent(new Event("{name}"))' in SCRIPT


def test_the_named_data_is_in_the_pages() -> None:
    markup = "".join(
        path.read_text()
        for path in (ROOT / "async_downloads/templates/async_downloads").glob("*.html")
    )
    for name, _, _ in rows_of(TEXT, "| name | on | meaning |"):
        text = name.strip("`")
        assert text in markup
