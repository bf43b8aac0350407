"""The page on metrics has each instrument, with its names, its unit and its words."""

import re

import pytest

from async_downloads.metrics import recording
from async_downloads.metrics.instruments import (
    COUNTERS,
    HISTOGRAMS,
    OLDEST_WAITING,
    UNFINISHED,
    Instrument,
)
from async_downloads.store import Backlog
from tests.docs.helpers import rows_of
from tests.snippets import PAGES

pytestmark = pytest.mark.any_database

PAGE = "docs/reference/metrics.md"

TEXT = PAGES[PAGE].text

#: The header of each table, and the end that Prometheus adds to its names.
COUNTER_TABLE = "| name in Prometheus | by OpenTelemetry | counts |"
HISTOGRAM_TABLE = "| name in Prometheus | by OpenTelemetry | unit | observes |"
GAUGE_TABLE = "| name in Prometheus | by OpenTelemetry | is |"


def row(each: Instrument, end: str = "") -> list[str]:
    return [f"`{each.underscored}{end}`", f"`{each.dotted}`", each.description]


def test_each_counter_is_documented() -> None:
    assert rows_of(TEXT, COUNTER_TABLE) == [row(each, "_total") for each in COUNTERS.values()]


def test_each_histogram_is_documented() -> None:
    documented = rows_of(TEXT, HISTOGRAM_TABLE)
    assert [cells.pop(2) for cells in documented] == [f"`{h.unit}`" for h in HISTOGRAMS.values()]
    assert documented == [row(each) for each in HISTOGRAMS.values()]


def test_each_gauge_is_documented() -> None:
    assert rows_of(TEXT, GAUGE_TABLE) == [row(UNFINISHED), row(OLDEST_WAITING)]
    states = re.search(r"`state` of the first is (.*?)\.", TEXT)
    assert states
    assert re.findall(r"`(\w+)`", states[1]) == list(Backlog(0, 0, 0, 0.0).counts)


def test_the_label_of_unrecorded_calls_is_documented() -> None:
    assert f"`{recording.UNKNOWN}`" in TEXT
