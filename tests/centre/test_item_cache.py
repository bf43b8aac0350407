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
from async_downloads.utils.memory import Memory
from tests.factories import DownloadFactory
from tests.recorded_calls import recorded

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
    return Template(LIST).render(Context({"downloads": downloads, **context}))


def included(download: Download, **context: Any) -> str:
    """Return the item as a template of a site would include it."""
    template = Template('{% include "async_downloads/download.html" %}')
    return template.render(Context({"download": download, **context}))


@pytest.mark.parametrize("state", ["running", "failed", "complete"])
def test_an_item_is_the_same_as_an_included_template(state: str) -> None:
    download = DownloadFactory(name="A & B", **{state: True})
    for _ in range(2):
        assert included(download).strip() in shown(download)


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
        {"ahead": 3},
        {"state": "running", "expected_at": timezone.now() + timedelta(days=1)},
        {"heard_at": timezone.now() - timedelta(hours=1), "served": True},
        {"heard_at": timezone.now() - timedelta(hours=1)},
        {"state": "failed", "errors": "It broke.", **recorded()},
        {"heard_at": timezone.now() - timedelta(hours=1), **recorded()},
        {"state": "running", "heard_at": timezone.now() - timedelta(hours=1), **recorded()},
        {"filepath": "downloads/elsewhere.csv"},
        {"timestamp": timezone.now() - timedelta(days=400)},
        {"heard_at": timezone.now() - timedelta(hours=1), "started_at": timezone.now()},
    ],
    ids=lambda changed: "-".join(changed),
)
def test_each_change_is_shown(changed: dict[str, Any]) -> None:
    # The date of the request is not shown a second time in the name.
    download = DownloadFactory(name=f"Orders {timezone.now().date()}")
    before = shown(download)
    # Each write is a heartbeat.
    download.heard_at += timedelta(microseconds=1)
    for name, value in changed.items():
        setattr(download, name, value)
    assert shown(download) != before
    assert included(download).strip() in shown(download)


def test_another_time_of_the_same_day_is_shown() -> None:
    noon = timezone.now().replace(hour=12) + timedelta(days=3)
    download = DownloadFactory(complete=True, lifetime=timedelta(days=3), expires_at=noon)
    before = shown(download)
    # To keep it for longer gives no heartbeat.
    download.expires_at = noon + timedelta(hours=1)
    assert shown(download) != before
    assert included(download).strip() in shown(download)


def test_each_thing_that_follows_a_stall_is_shown() -> None:
    download = DownloadFactory(running=True, heard_at=timezone.now() - timedelta(hours=1))
    texts = {shown(download)}
    for name, value in recorded().items():
        setattr(download, name, value)
    texts.add(shown(download))
    download.attempts = 3
    texts.add(shown(download))
    assert len(texts) == 3


def test_a_file_that_is_kept_for_some_hours_longer_has_the_new_moment() -> None:
    noon = (timezone.now() + timedelta(days=3)).replace(hour=12)
    download = DownloadFactory(complete=True, lifetime=timedelta(days=3), expires_at=noon)
    before = shown(download)
    # It comes without a heartbeat, and the text says the same day.
    download.expires_at = noon + timedelta(hours=2)
    assert shown(download) != before


def test_progress_is_put_into_a_kept_item() -> None:
    download = DownloadFactory(running=True, percentage=30, name="30 %")
    before = shown(download)
    download.percentage, download.heard_at = 31, timezone.now()
    after = shown(download)
    assert len(item_cache._items) == 1
    assert included(download).strip() in after
    assert before.replace(">30%<", ">31%<") != before
    assert download.percentage == 31
    assert item_cache.MARK not in before + after


@pytest.mark.parametrize("state", ["running", "failed", "complete"])
def test_the_items_of_a_list_are_those_of_its_template(rf: RequestFactory, state: str) -> None:
    downloads = [
        DownloadFactory(name="A & B", **{state: True}),
        DownloadFactory(running=True, percentage=30),
    ]
    for _ in range(2):
        items = item_cache.render_items(downloads, rf.get("/"))
        assert items is not None
        assert items in get_template(item_cache.LIST_TEMPLATE).render({"downloads": downloads})


def test_context_processors_are_called_once_and_only_for_what_is_not_kept(
    rf: RequestFactory, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[object] = []
    monkeypatch.setattr(
        "django.template.context_processors.request", lambda request: calls.append(request) or {}
    )
    settings.TEMPLATES = list(settings.TEMPLATES)
    downloads = DownloadFactory.create_batch(3, complete=True)
    for _ in range(2):
        item_cache.render_items(downloads, rf.get("/"))
    assert len(calls) == 1


def test_a_frame_is_rendered_once_and_shows_each_value(rf: RequestFactory) -> None:
    def frame(version: str, page: str = "") -> str:
        slots = {"summary": "", "version": version, "page": page, "list": "", "csrf_token": "t"}
        context = {"downloads": False, "has_forms": False, "total": 0, "finished": False}
        return item_cache.render_frame(
            "async_downloads/fragment.html", slots, context | {"newest": None}, rf.get("/")
        )

    first, second = frame("a.1"), frame('b"<2')
    assert len(item_cache._items) == 1
    assert first.replace("a.1", "b&quot;&lt;2") == second
    assert 'name="next"' not in first
    assert 'name="next" value="/orders/?a=1&amp;b=2"' in frame("a.1", "/orders/?a=1&b=2")
    assert item_cache.MARK not in first + second


def test_a_closed_menu_is_rendered_once_for_all_states(
    rf: RequestFactory, user: Any, other_user: Any
) -> None:
    def menu(of: Any) -> str:
        request = rf.get("/")
        request.user = of
        return get_template("async_downloads/download_centre.html").render({}, request)

    empty = menu(user)
    assert menu(other_user) == empty
    assert len(item_cache._items) == 1
    download = DownloadFactory(collection__user=user, running=True, percentage=30)
    first = menu(user)
    Download.objects.update(percentage=31)
    second = menu(user)
    assert len(item_cache._items) == 2
    assert download.download_key not in empty + first
    for markup, percentage in ((first, 30), (second, 31)):
        assert f'stroke-dasharray="{percentage} 100"' in markup
        assert "in-progress" in markup
        assert item_cache.MARK not in markup
    item_cache.forget()
    assert menu(user) == second


def test_a_truncated_download_says_so() -> None:
    download = DownloadFactory(complete=True, rows_written=3, rows_expected=3)
    assert "Truncated" not in shown(download)
    download.rows_expected = 4
    download.heard_at += timedelta(microseconds=1)
    assert "Truncated" in shown(download)


def test_a_fetch_is_shown_without_a_heartbeat() -> None:
    download = DownloadFactory(complete=True)
    before = shown(download)
    download.fetch_count = 1
    assert shown(download) != before


def test_an_item_depends_on_nothing_of_the_request() -> None:
    download = DownloadFactory(failed=True, **recorded())
    assert "secret" not in shown(download, csrf_token="secret", page="/orders/secret/")


def test_each_user_has_their_own_language_and_time_zone() -> None:
    download = DownloadFactory(complete=True)
    english = shown(download)
    with translation.override("de"):
        assert shown(download) != english
    with timezone.override("Asia/Tokyo"):
        assert shown(download) != english
    assert shown(download) == english


@pytest.mark.urls(__name__)
def test_each_instance_of_the_app_has_its_own_urls() -> None:
    download = DownloadFactory(failed=True, **recorded())
    template = Template(LIST)
    for instance in ("first", "second"):
        request = RequestFactory().get("/")
        request.current_app = instance  # type: ignore[attr-defined]
        context = RequestContext(request, {"downloads": [download]})
        assert f'formaction="/{instance}/' in template.render(context)


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
    monkeypatch.setattr(item_cache, "_items", Memory(2))
    for _ in range(5):
        shown(DownloadFactory())
        assert len(item_cache._items) <= 2
