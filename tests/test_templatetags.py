"""The download centre in a site's page."""

import re
from typing import Any

import pytest
from django.contrib.staticfiles.storage import StaticFilesStorage
from django.template import Context, RequestContext, Template
from django.template.loader import get_template
from django.test import Client, RequestFactory

from async_downloads.templatetags import async_downloads as tags
from tests.factories import DownloadCollectionFactory, DownloadFactory

pytestmark = [pytest.mark.any_database, pytest.mark.django_db]

CENTRE = Template('{% include "async_downloads/download_centre.html" %}')


def test_a_page_has_the_button_and_not_the_list(signed_in: Client, user: Any) -> None:
    download = DownloadFactory(collection__user=user)
    html = signed_in.get("/").text
    (classes,) = re.findall(r'<li id="async-downloads" class="([^"]*)"', html)
    assert {"nav-item", "dropdown", "in-progress"} <= set(classes.split())
    assert 'id="downloads-dropdown"' in html
    assert 'aria-label="Downloads: 1 in progress"' in html
    assert 'data-poll="1"' in html
    assert download.name not in html


def test_an_idle_page_does_not_poll(signed_in: Client) -> None:
    html = signed_in.get("/").text
    assert not re.search(r'<li id="async-downloads" class="[^"]*(in-progress|has-new)', html)
    assert 'data-poll=""' in html
    assert 'aria-label="Downloads"' in html


def test_a_page_says_how_many_downloads_have_finished(signed_in: Client, user: Any) -> None:
    DownloadFactory(collection__user=user, complete=True)
    assert 'aria-label="Downloads: 1 new"' in signed_in.get("/").text


@pytest.mark.parametrize("number", [0, 1, 20, 100])
def test_the_download_centre_costs_a_page_no_query(
    signed_in: Client,
    user: Any,
    shared_cache: str,
    number: int,
    django_assert_num_queries: Any,
) -> None:
    collection = DownloadCollectionFactory(user=user)
    for _ in range(number):
        DownloadFactory(collection=collection, complete=True, stored=False)
    sizes = len(signed_in.get("/").content)
    # The two are Django's, for the session and the user.
    with django_assert_num_queries(2):
        response = signed_in.get("/")
    centre = response.text[response.text.index('<li id="async-d') : response.text.index("</li>")]
    assert len(centre.encode()) < 1500
    assert len(response.content) == sizes


def test_the_download_centre_reads_the_cache_once(
    signed_in: Client, user: Any, round_trips: list[str]
) -> None:
    DownloadFactory(collection__user=user)
    signed_in.get("/")
    round_trips.clear()
    signed_in.get("/")
    assert round_trips == ["get_many"]


@pytest.mark.parametrize("number", [0, 1, 20])
def test_without_a_shared_cache_the_download_centre_costs_a_page_one_query(
    signed_in: Client, user: Any, number: int, django_assert_num_queries: Any
) -> None:
    collection = DownloadCollectionFactory(user=user)
    for _ in range(number):
        DownloadFactory(collection=collection, failed=True)
    # Two more are Django's, for the session and the user.
    with django_assert_num_queries(3):
        signed_in.get("/")


def test_the_second_download_centre_of_a_page_has_ids_of_its_own(
    user: Any, rf: RequestFactory
) -> None:
    request = rf.get("/")
    request.user = user
    twice = Template('{% include "async_downloads/download_centre.html" %}' * 2)
    html = twice.render(RequestContext(request))
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids)) == 12
    assert {"async-downloads", "async-downloads-2", "downloads-dropdown-2"} <= set(ids)
    assert 'popovertarget="downloads-dropdown-2"' in html


def test_without_javascript_the_button_leads_to_the_page_of_all(signed_in: Client) -> None:
    html = signed_in.get("/").text
    form = html[html.index('<form action="/async_downloads/list/">') :]
    assert form.index("<button") < form.index("</form>")


def test_an_anonymous_visitor_sees_no_download_centre(client: Client) -> None:
    assert "async-downloads" not in client.get("/").text.replace("async_downloads", "")


def test_a_page_without_a_request_is_not_an_error(rf: RequestFactory) -> None:
    assert CENTRE.render(Context({})).strip() == ""
    assert CENTRE.render(RequestContext(rf.get("/"), {})).strip() == ""


def test_a_context_with_only_the_user_is_enough(user: Any) -> None:
    DownloadFactory(collection__user=user, name="Orders")
    assert "1 in progress" in CENTRE.render(Context({"user": user}))


def test_htmx_is_a_static_file_if_django_htmx_is_installed(
    signed_in: Client, settings: Any
) -> None:
    assert 'data-htmx="/static/django_htmx/htmx-2.min.js"' in signed_in.get("/").text
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_htmx"]
    page = CENTRE.render(Context({"user": signed_in.get("/admin/login/").wsgi_request.user}))
    assert 'data-htmx="/async_downloads/scripts/htmx-2.min.js"' in page


def test_websocket_mode_connects(signed_in: Client, settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_WS_MODE = True
    html = signed_in.get("/").text
    assert 'data-ws-connect="/ws/downloads/?language=en"' in html


def test_a_nonce_of_the_site_is_passed_on(user: Any) -> None:
    class LazyNonce:
        """A nonce like Django's: false until it is used for the first time."""

        def __bool__(self) -> bool:
            return False

        def __str__(self) -> str:
            return "abc"

    assert 'nonce="abc"' in CENTRE.render(Context({"user": user, "csp_nonce": LazyNonce()}))
    assert "nonce" not in CENTRE.render(Context({"user": user}))


@pytest.mark.parametrize("copied", [False, True])
def test_each_page_has_its_own_nonce(user: Any, settings: Any, tmp_path: Any, copied: bool) -> None:
    template = get_template("async_downloads/download_centre.html")
    if copied:
        own = tmp_path / "async_downloads" / "download_centre.html"
        own.parent.mkdir()
        own.write_text(template.template.source)
        (engine,) = settings.TEMPLATES
        settings.TEMPLATES = [{**engine, "DIRS": [tmp_path]}]
        template = get_template("async_downloads/download_centre.html")
    pages = [
        template.render({"user": user, "csp_nonce": nonce}) for nonce in ("first", 'se"cond', "")
    ]
    found = [re.findall(r' nonce="([^"]*)"', page) for page in pages]
    assert found == [["first"], ["se&quot;cond"], [""]]


def test_the_urls_of_the_scripts_are_those_of_the_minute(
    user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(f"{tags.__name__}.time.monotonic", lambda: now[0])

    def urls(signature: str) -> list[str]:
        # As a storage does that signs URLs.
        monkeypatch.setattr(
            StaticFilesStorage, "url", lambda self, name: f"/static/{name}?{signature}"
        )
        page = CENTRE.render(Context({"user": user}))
        return re.findall(r'"/static/[^"?]+\?(\w+)"', page)

    assert urls("first") == ["first"] * 3
    assert urls("second") == ["first"] * 3
    now[0] += tags.URL_SECONDS
    assert urls("third") == ["third"] * 3


def test_a_block_of_the_site_is_rendered_for_each_page(
    user: Any, settings: Any, tmp_path: Any
) -> None:
    own = tmp_path / "async_downloads" / "download_centre.html"
    own.parent.mkdir()
    own.write_text(
        '{% extends "async_downloads/download_centre.html" %}{% block icon %}{{ n }}{% endblock %}'
    )
    (engine,) = settings.TEMPLATES
    settings.TEMPLATES = [{**engine, "DIRS": [tmp_path]}]
    for text in ("first", "second"):
        assert text in get_template("async_downloads/download_centre.html").render(
            {"user": user, "n": text}
        )
