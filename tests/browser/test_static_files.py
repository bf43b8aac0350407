"""Sites that serve static files only by names with hashes."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.core.management import call_command
from playwright.sync_api import Page, Route, expect

from async_downloads import cache

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shared_cache")]

HASHED = re.compile(r"\.[0-9a-f]{12}(?=\.\w+$)")


@pytest.fixture
def hashed_only(page: Page, settings: Any, tmp_path: Path) -> list[str]:
    """Serve static files only by names with hashes, and return the other names requested."""
    backend = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": backend}}
    settings.STATIC_ROOT = tmp_path
    call_command("collectstatic", interactive=False, verbosity=0)
    missing: list[str] = []

    def serve(route: Route) -> None:
        name = route.request.url.partition("/static/")[2].partition("?")[0]
        if HASHED.search(name):
            route.fulfill(path=str(finders.find(HASHED.sub("", name))))
        else:
            missing.append(name)
            route.fulfill(status=404)

    page.route("**/static/**", serve)
    return missing


@pytest.mark.parametrize("path", ["/", "/as-0-6/", "/as-0-6-own/", "/with-htmx-4/"])
@pytest.mark.parametrize("installed", [True, False], ids=["django_htmx", "without django_htmx"])
def test_every_script_is_found(
    page: Page,
    live_server: Any,
    user: Any,
    settings: Any,
    hashed_only: list[str],
    path: str,
    installed: bool,
) -> None:
    if not installed and "htmx" in path:
        pytest.skip("the site has htmx from django_htmx")
    if not installed:
        settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_htmx"]
    loaded: list[str] = []
    page.on("request", lambda request: loaded.append(request.url))
    key = cache.init_download(user, "orders.csv", "Orders")[1]
    page.goto(live_server.url + path)
    page.get_by_role("button", name=re.compile("^Downloads")).click()
    menu = page.locator("#downloads-dropdown")
    expect(menu).to_contain_text("Orders")
    cache.set_percentage(key, 40)
    expect(menu).to_contain_text("40%")
    assert hashed_only == []
    assert len([url for url in loaded if "async_downloads_centre" in url]) == 1
    assert len([url for url in loaded if "/htmx-" in url]) == 1
