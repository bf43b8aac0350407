"""The check of exports reports columns that do not exist, and only those."""

from typing import Any

import pytest

from tests.checks.test_checks import ids
from tests.shop.admin import OrderAdmin


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ((), []),
        (["status", "customer", "customer_id", "customer__name", "is_open", str, "pk"], []),
        (["*", "customer__*", "customer__orders__*"], []),
        (["no_such"], ["E015"]),
        (["status", "customer__no_such", "no_such__*", "reference__*"], ["E015"] * 3),
        ("status", ["E015"]),
        (None, ["E015"]),
    ],
    ids=str,
)
def test_e015_reports_export_fields_that_are_not_columns(
    monkeypatch: pytest.MonkeyPatch, fields: Any, expected: list[str]
) -> None:
    monkeypatch.setattr(OrderAdmin, "export_fields", fields)
    assert ids() == expected


def test_sites_without_the_admin_have_nothing_to_check(settings: Any) -> None:
    settings.INSTALLED_APPS = [
        name for name in settings.INSTALLED_APPS if name != "django.contrib.admin"
    ]
    assert "E015" not in ids()
