"""An item of the list is rendered once, and an outdated one is never shown."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.template import Context, RequestContext, Template
from django.template.loader import get_template
from django.test import RequestFactory
from django.urls import include, path
from django.utils import timezone, translation

from async_downloads.centre import item_cache
from async_downloads.models import Download
from tests.factories import DownloadFactory

pytestmark = [pytest.mark.any_database, pytest.mark.django_db]

#: Routes of a site that includes the app twice.
urlpatterns = [
    path("first/", include("async_downloads.urls", namespace="first")),
    path("second/", include("async_downloads.urls", namespace="second")),
]

LIST = '{% include "async_downloads/downloads.html" %}'


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    item_cache.forget()


def shown(*downloads: Download, **context: Any) -> str:
    context.setdefault("csrf_token", "secret")
    return Template(LIST).render(Context({"downloads": downloads, **context}))


def included(download: Download, **context: Any) -> str:
    """Return the item as a template of a site would include it."""
    context.setdefault("csrf_token", "secret")
    template = Template('{% include "async_downloads/download.html" %}')
    return template.render(Context({"download": download, **context}))


@pytest.mark.parametrize("state", ["running", "failed", "complete"])
@pytest.mark.parametrize("page", ["", "/orders/?a=1&b=2"])
def test_an_item_is_the_same_as_an_included_template(state: str, page: str) -> None:
    download = DownloadFactory(name="A & B", **{state: True})
    for _ in range(2):
        assert shown(download, page=page).strip() == included(download, page=page).strip()


def test_an_item_is_rendered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[str] = []
    template = get_template("async_downloads/download.html").template
    original = template.render
    monkeypatch.setattr(
        template, "render", lambda context: rendered.append("it") or original(context)
    )
    one, other = DownloadFactory.create_batch(2)
    shown(one, other)
    shown(one, other)
    assert len(rendered) == 2


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "Another"},
        {"state": "running"},
        {"state": "failed", "errors": "It broke."},
        {"state": "complete", "size": 5, "percentage": 100},
        {"state": "running", "percentage": 40},
        {"state": "running", "rows_written": 12},
        {"heard_at": timezone.now() - timedelta(hours=1)},
        {"filepath": "downloads/elsewhere.csv"},
        {"timestamp": timezone.now() - timedelta(days=400)},
        {"heard_at": timezone.now() - timedelta(hours=1), "started_at": timezone.now()},
    ],
    ids=lambda changed: "-".join(changed),
)
def test_each_change_is_shown(changed: dict[str, Any]) -> None:
    download = DownloadFactory()
    before = shown(download)
    for name, value in changed.items():
        setattr(download, name, value)
    assert shown(download) != before
    assert shown(download).strip() == included(download).strip()


def test_a_truncated_download_says_so() -> None:
    download = DownloadFactory(complete=True, rows_written=3, rows_expected=3)
    assert "Truncated" not in shown(download)
    download.rows_expected = 4
    assert "Truncated" in shown(download)


def test_each_response_has_its_own_csrf_token_and_page() -> None:
    download = DownloadFactory()
    one = shown(download, csrf_token="first", page="/one/")
    other = shown(download, csrf_token="second", page='/"><script>')
    assert 'value="first"' in one
    assert 'value="/one/"' in one
    assert 'value="second"' in other
    assert 'value="/&quot;&gt;&lt;script&gt;"' in other


def test_each_user_has_their_own_language_and_time_zone() -> None:
    download = DownloadFactory(running=True)
    english = shown(download)
    with translation.override("de"):
        assert shown(download) != english
    with timezone.override("Asia/Tokyo"):
        assert shown(download) != english
    assert shown(download) == english


@pytest.mark.urls(__name__)
def test_each_instance_of_the_app_has_its_own_urls() -> None:
    download = DownloadFactory()
    template = Template(LIST)
    for instance in ("first", "second"):
        request = RequestFactory().get("/")
        request.current_app = instance  # type: ignore[attr-defined]
        context = RequestContext(request, {"downloads": [download], "csrf_token": "secret"})
        assert f'action="/{instance}/' in template.render(context)


def test_a_template_of_the_site_is_rendered_each_time(settings: Any, tmp_path: Path) -> None:
    own = tmp_path / "async_downloads" / "download.html"
    own.parent.mkdir()
    own.write_text(
        '{% extends "async_downloads/download.html" %}{% block name %}{{ n }}{% endblock %}'
    )
    (engine,) = settings.TEMPLATES
    settings.TEMPLATES = [{**engine, "DIRS": [tmp_path]}]
    download = DownloadFactory()
    assert "first" in shown(download, n="first")
    assert "second" in shown(download, n="second")
    assert not item_cache._items


def test_nothing_is_cached_while_templates_are_reloaded(settings: Any) -> None:
    settings.DEBUG = True
    shown(DownloadFactory())
    assert not item_cache._items


def test_a_changed_setting_clears_the_cache(settings: Any) -> None:
    download = DownloadFactory()
    shown(download)
    settings.ASYNC_DOWNLOADS_CSS_CLASS = "wide"
    assert not item_cache._items
    assert "wide" in shown(download)


def test_the_cache_has_a_limited_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_cache, "MAX_ITEMS", 2)
    for _ in range(5):
        shown(DownloadFactory())
        assert len(item_cache._items) <= 2
