"""Fixtures for the tests of the store."""

from typing import Any

import pytest


@pytest.fixture(params=[True, False], ids=["aware", "naive"])
def aware_or_naive(request: pytest.FixtureRequest, settings: Any) -> None:
    """Read times with time zones, and without."""
    settings.USE_TZ = request.param
