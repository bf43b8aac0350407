"""docs/how-to/rest-api.md."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from async_downloads import cache
from async_downloads.models import Download
from tests import queues
from tests.factories import DownloadFactory, OrderFactory
from tests.snippets import Page

PAGE = "docs/how-to/rest-api.md"

COVERED = {
    "pip install djangorestframework": "test_the_start_is_202_with_a_location",
    'INSTALLED_APPS += ["rest_framework"]': "test_the_framework_is_an_app",
    "class OrderExport": "test_the_start_is_202_with_a_location",
    "from orders.api import OrderExport": "test_the_start_is_202_with_a_location",
    "pip install django-ninja": "test_the_start_is_202_with_a_location",
    "api = NinjaAPI": "test_the_start_is_202_with_a_location",
    "from orders.ninja_api import api": "test_the_start_is_202_with_a_location",
}

#: The packages, and what the page has for each: the module, and the texts of its blocks.
FRAMEWORKS = {
    "rest_framework": ("orders.api", "class OrderExport", "from orders.api import"),
    "ninja": ("orders.ninja_api", "api = NinjaAPI", "from orders.ninja_api import"),
}

URL = "/api/exports/orders/"
JSON = {"Accept": "application/json"}

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]


@pytest.fixture(params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest, quick_start: Any, page: Page, settings: Any) -> str:
    """The site of a reader who has followed the page with one of the packages."""
    package: str = request.param
    pytest.importorskip(package)
    module, view, urls = FRAMEWORKS[package]
    quick_start(module, page.placed(view))
    quick_start("mysite.urls", page.placed(urls))
    settings.ROOT_URLCONF = "mysite.urls"
    return package


@pytest.fixture
def post(user: Any) -> Callable[..., Any]:
    """A function that posts as ada's script does."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    token = "t" * 32
    client.cookies["csrftoken"] = token
    return lambda url: client.post(url, headers={**JSON, "X-CSRFToken": token})


def test_the_framework_is_an_app(as_documented: Any) -> None:
    assert "rest_framework" in as_documented("rest_framework")["INSTALLED_APPS"]


def test_the_start_is_202_with_a_location(
    framework: str, user: Any, post: Callable[..., Any], client: Client
) -> None:
    OrderFactory(reference="R1", status="open", customer__name="Ada")
    started = post(URL)
    assert started.status_code == 202
    client.force_login(user)
    waiting = client.get(started["Location"])
    assert waiting.json()["download_key"] == started.json()["download_key"]
    assert waiting.json()["in_progress"] is True
    headers = {"If-None-Match": waiting["ETag"]}
    assert client.get(started["Location"], headers=headers).status_code == 304
    queues.run_waiting()
    complete = client.get(started["Location"], headers=headers).json()
    assert complete["complete"] is True
    file = client.get(complete["url"])
    assert file.getvalue() == b"Reference,Customer,Total\nR1,Ada,19.90\n"  # type: ignore[attr-defined]


def test_a_failure_says_why_and_can_be_tried_again(
    framework: str, user: Any, post: Callable[..., Any], client: Client
) -> None:
    location = post(URL)["Location"]
    cache.set_error(Download.objects.get().download_key, "No orders")
    client.force_login(user)
    failed = client.get(location).json()
    assert (failed["in_progress"], failed["error_text"]) == (False, "No orders")
    assert post(failed["retry_url"]).status_code == 202
    assert client.get(location).json()["in_progress"] is True


def test_too_many_are_409_and_a_visitor_is_refused(
    framework: str, user: Any, post: Callable[..., Any], client: Client, settings: Any
) -> None:
    settings.ASYNC_DOWNLOADS_MAX_ACTIVE = 1
    DownloadFactory(collection__user=user, running=True)
    refused = post(URL)
    assert refused.status_code == 409
    assert refused.json()["detail"].startswith("You have 1 download in progress.")
    assert client.post(URL, headers=JSON).status_code in (401, 403)
    assert Download.objects.count() == 1
