"""Fixtures for the tests of exports from the admin."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.shop.admin import OrderAdmin


@pytest.fixture
def change_admin(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that sets attributes of the admin of orders."""

    def change(**attributes: Any) -> None:
        for name, value in attributes.items():
            monkeypatch.setattr(OrderAdmin, name, value)

    return change


@pytest.fixture
def one_click(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the button and the action for orders start exports without a page."""
    monkeypatch.setattr(OrderAdmin, "export_without_asking", True)
