"""Fixtures for the tests of exports from the admin."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests import jobs
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


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Use a queue that keeps tasks, so that a test can read them."""
    monkeypatch.setattr(OrderAdmin, "export_task", jobs.Backend())
    yield from jobs.forget()
