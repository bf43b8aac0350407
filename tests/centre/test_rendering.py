"""The markup of the download centre is the same for pages, polls and pushes."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import RequestFactory
from django.utils import timezone

from async_downloads import owners, store
from async_downloads.centre import rendering
from tests.factories import DownloadCollectionFactory, DownloadFactory

pytestmark = [pytest.mark.any_database, pytest.mark.django_db]


def rendered(user: Any) -> str:
    return rendering.render(store.read_listing(owners.resolve(user)))


def test_a_page_polls_while_a_download_is_in_progress(user: Any) -> None:
    DownloadFactory(collection__user=user)
    html = rendered(user)
    assert 'hx-trigger="every 1s, async-downloads:look from:body"' in html
    assert 'hx-get="/async_downloads/ajax_update/"' in html
    assert "data-in-progress" in html


@pytest.mark.parametrize("state", [{}, {"complete": True}, {"failed": True}])
def test_a_page_does_not_poll_if_no_download_is_in_progress(user: Any, state: Any) -> None:
    if state:
        DownloadFactory(collection__user=user, **state)
    html = rendered(user)
    assert 'hx-trigger="async-downloads:look from:body"' in html
    assert "data-in-progress" not in html


def test_a_page_polls_seldom_for_a_stalled_download(user: Any) -> None:
    DownloadFactory(
        collection__user=user, running=True, heard_at=timezone.now() - timedelta(hours=1)
    )
    html = rendered(user)
    assert 'hx-trigger="every 30s, async-downloads:look from:body"' in html
    assert "data-in-progress" not in html
    assert "stopped responding" in html


@pytest.mark.parametrize(("minutes", "seconds"), [(0.5, 1), (5, 3), (60, 10)])
def test_the_polling_interval_grows_with_the_age_of_the_download(
    user: Any, minutes: float, seconds: int
) -> None:
    requested = timezone.now() - timedelta(minutes=minutes)
    DownloadFactory(collection__user=user, timestamp=requested)
    assert f'hx-trigger="every {seconds}s' in rendered(user)


def test_the_menu_shows_the_newest_and_the_number_of_all(user: Any) -> None:
    collection = DownloadFactory(collection__user=user, running=True).collection
    for _ in range(20):
        DownloadFactory(collection=collection, complete=True, stored=False)
    listing = store.read_listing(owners.resolve(user), limit=rendering.MENU_SIZE)
    html = rendering.render(listing)
    assert html.count('class="download-container"') == 20
    assert "All 21 downloads" in html
    assert "Clear finished" in html
    # The page also polls for a download in progress that is not among the newest.
    assert 'data-state="running"' not in html
    assert 'data-running="1"' in html
    assert 'hx-trigger="every' in html


@pytest.mark.parametrize(("minutes", "seconds"), [(0.5, 1), (5, 3)])
def test_pages_with_pushes_poll_only_while_their_socket_is_closed(
    user: Any, settings: Any, minutes: float, seconds: int
) -> None:
    settings.ASYNC_DOWNLOADS_WS_MODE = True
    DownloadFactory(collection__user=user, timestamp=timezone.now() - timedelta(minutes=minutes))
    html = rendered(user)
    assert 'hx-trigger="async-downloads:look from:body"' in html
    # The script reads the interval here.
    assert f'data-poll-seconds="{seconds}"' in html


def test_pages_with_pushes_and_nothing_in_progress_never_poll(user: Any, settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_WS_MODE = True
    DownloadFactory(collection__user=user, complete=True)
    assert "data-poll-seconds" not in rendered(user)


def test_each_poll_sends_the_version_that_the_page_shows(user: Any) -> None:
    DownloadFactory(collection__user=user)
    listing = store.read_listing(owners.resolve(user))
    assert str(listing.version) in rendering.render(listing)


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>'])
@pytest.mark.parametrize("field", ["name", "errors"])
def test_markup_in_names_and_errors_is_escaped(user: Any, evil: str, field: str) -> None:
    DownloadFactory(collection__user=user, failed=True, **{field: evil})
    html = rendered(user)
    assert "<script" not in html
    assert "<img" not in html


def test_the_owner_never_sees_the_traceback(user: Any) -> None:
    DownloadFactory(collection__user=user, failed=True)
    assert "secret" not in rendered(user)


def test_no_inline_style_or_script(user: Any) -> None:
    for state in ({}, {"complete": True}, {"failed": True}, {"running": True}):
        DownloadFactory(collection__user=user, **state)
    html = rendered(user)
    assert "style=" not in html
    assert "<script" not in html
    assert "onclick" not in html


def test_a_template_of_the_site_gets_the_documented_names(
    user: Any, settings: Any, tmp_path: Any
) -> None:
    (tmp_path / "mine.html").write_text(
        "{% for download in downloads %}"
        "{{ download.name }}|{{ download.percentage }}|{{ download.complete }}|"
        "{{ download.errors }}|{{ download.url }}|{{ download.css_class }}|"
        "{{ download.filepath }}|{{ download.download_key }}|{{ download.timestamp.year }}"
        "{% endfor %}"
    )
    engine = settings.TEMPLATES[0]
    settings.TEMPLATES = [{**engine, "DIRS": [tmp_path, *engine["DIRS"]]}]
    settings.ASYNC_DOWNLOADS_DOWNLOAD_TEMPLATE = "mine.html"
    settings.ASYNC_DOWNLOADS_CSS_CLASS = "mine"
    download = DownloadFactory(collection__user=user, complete=True)
    expected = (
        f"{download.name}|100|True||/async_downloads/download/{download.pk}/|mine|"
        f"{download.filepath}|{download.pk}|{download.timestamp.year}"
    )
    assert expected in rendered(user)


def test_a_push_is_the_same_fragment_with_an_out_of_band_swap(
    user: Any, rf: RequestFactory
) -> None:
    DownloadFactory(collection__user=user)
    listing = store.read_listing(owners.resolve(user))
    markup = rendering.render_pushed(listing, rf.get("/"))
    assert markup.startswith('<div id="downloads-dropdown" hx-swap-oob="innerHTML">')
    assert "async-downloads-fragment" in markup


def test_numbers_for_scripts_have_no_separators(user: Any, settings: Any) -> None:
    settings.USE_THOUSAND_SEPARATOR = True
    collection = DownloadCollectionFactory(user=user)
    for _ in range(1000):
        DownloadFactory(collection=collection, running=True)
    assert 'data-running="1000"' in rendered(user)
