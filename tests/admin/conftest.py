"""Fixtures for the tests of the admin."""

from typing import Any

import pytest
from django.test import Client

from tests.staff import client_of


@pytest.fixture
def admin(staff_user: Any) -> Client:
    """Return a client of staff who may do everything."""
    return client_of(staff_user)
