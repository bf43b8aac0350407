"""The markup of the download centre is the same for pages, polls and pushes."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import RequestFactory
from django.utils import timezone

from async_downloads import owners, store
from async_downloads.centre import rendering
from async_downloads.models import Download
from tests.factories import DownloadCollectionFactory, DownloadFactory

pytestmark = [pytest.mark.any_database, pytest.mark.django_db]


def rendered(user: Any) -> str:
    """Return the list of an open menu."""
    return rendering.render(store.read_listing(owners.resolve(user)), RequestFactory().get("/"))


def state(user: Any) -> dict[str, str]:
    """Return what the button of a closed menu shows."""
    return rendering.state_of(store.read_summary(owners.resolve(user)))


def test_a_page_polls_while_a_download_is_in_progress(user: Any) -> None:
    DownloadFactory(collection__user=user)
    assert state(user)["poll"] == "1"
    assert state(user)["state"] == "in-progress"
    assert ' data-poll="1"' in rendered(user)


@pytest.mark.parametrize("ended", [{}, {"complete": True}, {"failed": True}])
def test_a_page_does_not_poll_if_no_download_is_in_progress(user: Any, ended: Any) -> None:
    if ended:
        DownloadFactory(collection__user=user, **ended)
    assert state(user)["poll"] == ""
    assert state(user)["state"] == ("has-new" if ended else "")
    assert ' data-poll=""' in rendered(user)


def test_a_page_polls_seldom_for_a_stalled_download(user: Any) -> None:
    DownloadFactory(
        collection__user=user, running=True, heard_at=timezone.now() - timedelta(hours=1)
    )
    assert state(user)["poll"] == "30"
    assert state(user)["state"] == ""
    assert ' data-poll="30"' in rendered(user)


@pytest.mark.parametrize(("minutes", "seconds"), [(0.5, 1), (5, 3), (60, 10)])
def test_the_polling_interval_grows_with_the_age_of_the_download(
    user: Any, minutes: float, seconds: int
) -> None:
    requested = timezone.now() - timedelta(minutes=minutes)
    DownloadFactory(collection__user=user, timestamp=requested)
    assert state(user)["poll"] == str(seconds)
    assert f' data-poll="{seconds}"' in rendered(user)


def test_the_menu_shows_the_newest_and_the_number_of_all(user: Any, rf: RequestFactory) -> None:
    collection = DownloadFactory(collection__user=user, running=True).collection
    for _ in range(20):
        DownloadFactory(collection=collection, complete=True, stored=False)
    listing = store.read_listing(owners.resolve(user), limit=rendering.MENU_SIZE)
    html = rendering.render(listing, rf.get("/"))
    assert html.count('class="download-container"') == 20
    assert "All 21 downloads" in html
    assert "Clear finished" in html
    # The page also polls for a download in progress that is not among the newest.
    assert 'data-state="running"' not in html
    assert ' data-count="1"' in html
    assert ' data-poll="1"' in html


def test_the_link_to_the_page_of_all_has_no_number_of_one(user: Any, settings: Any) -> None:
    DownloadFactory(collection__user=user)
    assert ">All downloads</a>" in rendered(user)
    settings.LANGUAGE_CODE = "de"
    assert ">Alle Downloads</a>" in rendered(user)


def test_a_list_has_the_version_that_the_next_poll_of_it_sends(
    user: Any, rf: RequestFactory
) -> None:
    DownloadFactory(collection__user=user)
    listing = store.read_listing(owners.resolve(user))
    assert f'data-version="{listing.version}"' in rendering.render(listing, rf.get("/"))


@pytest.mark.parametrize(("forms", "count"), [(False, 1), (True, 2)])
def test_a_list_is_inside_of_one_form_unless_it_has_forms_of_its_own(
    user: Any, settings: Any, tmp_path: Any, forms: bool, count: int
) -> None:
    (tmp_path / "mine.html").write_text("<form>mine</form>" if forms else "mine")
    engine = settings.TEMPLATES[0]
    settings.TEMPLATES = [{**engine, "DIRS": [tmp_path, *engine["DIRS"]]}]
    settings.ASYNC_DOWNLOADS_DOWNLOAD_TEMPLATE = "mine.html"
    html = rendered(user)
    assert html.count("<form") == count
    before, _, _ = html.partition("mine")
    # The package's form has ended before the site's begins.
    assert before.count("<form") - before.count("</form>") == 1


def test_toasts_come_with_the_summary(user: Any, rf: RequestFactory) -> None:
    done = DownloadFactory(collection__user=user, complete=True, name="<b>Done</b>")
    failed = DownloadFactory(collection=done.collection, failed=True, errors="It broke.")
    summary = store.read_summary(owners.resolve(user))
    html = rendering.render_summary(summary, rf.get("/"), [done, failed])
    assert html.count('class="async-downloads-toast"') == 2
    assert "<bdi>&lt;b&gt;Done&lt;/b&gt;</bdi> is ready" in html
    assert "It broke." in html
    assert "async-downloads-toast" not in rendering.render_summary(summary, rf.get("/"))


def test_a_toast_warns_of_missing_rows(user: Any, rf: RequestFactory) -> None:
    rows = {"rows_written": 45, "rows_expected": 60}
    download = DownloadFactory(collection__user=user, complete=True, **rows)
    summary = store.read_summary(owners.resolve(user))
    html = rendering.render_summary(summary, rf.get("/"), [download])
    assert '<span class="download-status">Truncated: 45 of 60 rows</span>' in html


@pytest.mark.parametrize(
    ("values", "has_time"), [({}, False), ({"running": True}, False), ({"failed": True}, True)]
)
def test_only_what_has_ended_or_stalled_has_a_time(
    user: Any, values: dict[str, Any], has_time: bool
) -> None:
    DownloadFactory(collection__user=user, **values)
    assert ("<time " in rendered(user)) is has_time


def test_a_summary_is_less_than_a_kilobyte(user: Any, rf: RequestFactory) -> None:
    collection = DownloadCollectionFactory(user=user)
    for number in range(30):
        DownloadFactory(collection=collection, running=number < 15, failed=number >= 15)
    summary = store.read_summary(owners.resolve(user))
    assert len(rendering.render_summary(summary, rf.get("/")).encode()) < 500


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


def test_numbers_for_scripts_have_no_separators(user: Any, settings: Any) -> None:
    settings.USE_THOUSAND_SEPARATOR = True
    collection = DownloadCollectionFactory(user=user)
    many = DownloadFactory.build_batch(1000, collection=collection, running=True)
    Download.objects.bulk_create(many)
    assert state(user)["count"] == "1000"
    assert ' data-count="1000"' in rendered(user)
