"""Fixtures for the tests of the store."""

from collections.abc import Iterator
from typing import Any

import pytest

from async_downloads.store import raw_rows


@pytest.fixture(params=[True, False], ids=["aware", "naive"])
def aware_or_naive(request: pytest.FixtureRequest, settings: Any) -> Iterator[None]:
    """Read times with time zones, and without."""
    settings.USE_TZ = request.param
    # The conversions of the columns depend on it.
    raw_rows.columns_of.cache_clear()
    yield
    raw_rows.columns_of.cache_clear()
