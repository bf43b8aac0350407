"""A response that wakes the menu."""

import json
from typing import Any

import pytest
from django.http import HttpResponse

from async_downloads.shortcuts import wake_menu


@pytest.mark.parametrize(
    ("show", "events"),
    [
        (False, {"async-downloads:look": {}}),
        (True, {"async-downloads:look": {}, "async-downloads:show": {}}),
    ],
    ids=["wake", "show"],
)
def test_a_response_wakes_the_menu_and_may_open_it(show: bool, events: dict[str, Any]) -> None:
    response = HttpResponse("It is there.")
    assert wake_menu(response, show=show) is response
    assert json.loads(response.headers["HX-Trigger"]) == events
