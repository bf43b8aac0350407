"""The checks of the ledger's settings."""

from typing import Any

import pytest

from tests.checks.test_checks import ids, messages

NETWORK = "async_downloads.audit.remote_network"


@pytest.mark.parametrize("value", [None, 0, 1, "False", ""], ids=repr)
def test_e019_reports_a_switch_that_is_neither_on_nor_off(settings: Any, value: Any) -> None:
    settings.ASYNC_DOWNLOADS_AUDIT = value
    assert ids() == ["E019"]
    assert f"ASYNC_DOWNLOADS_AUDIT is {value!r}." in messages()[0].msg


@pytest.mark.parametrize("path", ["tests.missing.address", "tests.urls.urlpatterns", "address", 5])
def test_e020_reports_what_cannot_be_called(settings: Any, path: Any) -> None:
    settings.ASYNC_DOWNLOADS_AUDIT = True
    settings.ASYNC_DOWNLOADS_AUDIT_ADDRESS = path
    assert ids() == ["E020"]
    assert repr(path) in messages()[0].msg


def test_w019_reports_an_address_without_a_ledger(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_AUDIT_ADDRESS = NETWORK
    assert ids() == ["W019"]


@pytest.mark.parametrize(("audit", "path"), [(False, ""), (True, ""), (True, NETWORK)])
def test_a_ledger_with_or_without_an_address_is_accepted(
    settings: Any, audit: bool, path: str
) -> None:
    settings.ASYNC_DOWNLOADS_AUDIT = audit
    settings.ASYNC_DOWNLOADS_AUDIT_ADDRESS = path
    assert ids() == []
