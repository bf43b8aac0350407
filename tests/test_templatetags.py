"""The download centre in a site's page."""

from typing import Any

import pytest
from django.template import Context, RequestContext, Template
from django.test import Client, RequestFactory

from tests.factories import DownloadFactory

pytestmark = [pytest.mark.any_database, pytest.mark.django_db]

CENTRE = Template('{% include "async_downloads/download_centre.html" %}')


def test_the_download_centre_is_rendered_with_the_page(signed_in: Client, user: Any) -> None:
    download = DownloadFactory(collection__user=user)
    html = signed_in.get("/").text
    assert '<li id="async-downloads" class="nav-item dropdown in-progress"' in html
    assert 'id="downloads-dropdown"' in html
    assert download.name in html
    assert 'hx-trigger="every 1s, async-downloads:look from:body"' in html


def test_an_idle_page_does_not_poll(signed_in: Client) -> None:
    html = signed_in.get("/").text
    assert 'class="nav-item dropdown"' in html
    assert "No downloads" in html
    assert 'hx-trigger="every' not in html


def test_the_download_centre_costs_a_page_one_query(
    signed_in: Client, django_assert_num_queries: Any
) -> None:
    # Two more are Django's, for the session and the user.
    with django_assert_num_queries(3):
        signed_in.get("/")


def test_an_anonymous_visitor_sees_no_download_centre(client: Client) -> None:
    assert "async-downloads" not in client.get("/").text.replace("async_downloads", "")


def test_a_page_without_a_request_is_not_an_error(rf: RequestFactory) -> None:
    assert CENTRE.render(Context({})).strip() == ""
    assert CENTRE.render(RequestContext(rf.get("/"), {})).strip() == ""


def test_a_context_with_only_the_user_is_enough(user: Any) -> None:
    DownloadFactory(collection__user=user, name="Orders")
    assert "Orders" in CENTRE.render(Context({"user": user}))


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
    assert "hx-ws-2.min.js" in html


def test_a_nonce_of_the_site_is_passed_on(user: Any) -> None:
    class LazyNonce:
        """A nonce like Django's: false until it is used for the first time."""

        def __bool__(self) -> bool:
            return False

        def __str__(self) -> str:
            return "abc"

    assert 'nonce="abc"' in CENTRE.render(Context({"user": user, "csp_nonce": LazyNonce()}))
    assert "nonce" not in CENTRE.render(Context({"user": user}))
