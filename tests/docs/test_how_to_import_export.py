"""docs/how-to/import-export.md."""

import re
from importlib.util import find_spec
from typing import Any

import pytest
from django.contrib import admin
from django.test import RequestFactory

from async_downloads import cache
from async_downloads.models import Download
from tests import queues
from tests.docs.helpers import ROOT, content, executed, posted
from tests.factories import OrderFactory, UserFactory
from tests.shop.models import Order
from tests.snippets import Page

pytestmark = pytest.mark.any_database

PAGE = "docs/how-to/import-export.md"

COVERED = {
    "pip install": "test_the_extra_exists",
    "def export_with_resource": "test_a_resource_is_exported",
    'INSTALLED_APPS += ["import_export"]': "test_the_app_is_there",
    "resource_classes = [OrderResource]": "test_the_resource_of_the_admin_is_exported",
}

pytest.importorskip("import_export.resources")


def test_the_extra_exists(page: Page) -> None:
    (extra,) = re.findall(r"django-async-downloads\[([\w-]+)\]", page.snippet("pip install"))
    assert f"\n{extra} = [" in (ROOT / "pyproject.toml").read_text()


def test_the_app_is_there(page: Page) -> None:
    (name,) = executed(page.snippet("INSTALLED_APPS +="), INSTALLED_APPS=[])["INSTALLED_APPS"]
    assert find_spec(name) is not None


@pytest.mark.django_db(transaction=True)
def test_a_resource_is_exported(user: Any, quick_start: Any, page: Page) -> None:
    task = quick_start("orders.tasks", page.placed("def export_with_resource")).export_with_resource
    order = OrderFactory(status="open")
    OrderFactory(status="shipped")
    _, key = cache.init_download(user, "orders.csv")
    task(key, "open")
    header, row = content(Download.objects.get()).splitlines()
    assert dict(zip(header.split(","), row.split(","), strict=True))["reference"] == order.reference


@pytest.mark.django_db(transaction=True)
def test_the_resource_of_the_admin_is_exported(
    rf: RequestFactory, quick_start: Any, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It is put back at the end.
    monkeypatch.delitem(admin.site._registry, Order)
    quick_start("orders.admin", page.placed("resource_classes = [OrderResource]"))
    model_admin: Any = admin.site.get_model_admin(Order)
    OrderFactory(reference="R1")
    data = {"format": "csv", "encoding": "utf-8", "columns": ["reference", "total"]}
    request = posted(rf, UserFactory(is_staff=True, is_superuser=True), data)
    assert model_admin.export_in_background_view(request).status_code == 302
    queues.run_waiting()
    assert content(Download.objects.get()) == "reference,total\nR1,19.90\n"
