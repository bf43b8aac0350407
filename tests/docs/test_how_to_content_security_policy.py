"""docs/how-to/content-security-policy.md."""

import json
import re
from importlib.util import find_spec
from typing import Any

import pytest
from django.template import Context, Template
from django.test import Client

from tests.docs.helpers import ROOT
from tests.shop.views import STRICT_CSP
from tests.snippets import Page

pytestmark = pytest.mark.any_database

PAGE = "docs/how-to/content-security-policy.md"

COVERED = {
    "Content-Security-Policy: ": "test_the_browser_tests_run_under_the_header",
    "CSP.NONCE": "test_the_nonce_of_the_header_is_that_of_the_script",
    "htmx-config": "test_the_settings_of_htmx_are_ours",
}


def test_the_browser_tests_run_under_the_header(page: Page) -> None:
    assert page.snippets("text") == [f"Content-Security-Policy: {STRICT_CSP}\n"]


@pytest.mark.django_db
@pytest.mark.skipif(find_spec("django.utils.csp") is None, reason="Django 6.0 is the first with it")
def test_the_nonce_of_the_header_is_that_of_the_script(
    as_documented: Any, settings: Any, signed_in: Client
) -> None:
    documented = as_documented()
    (engine,) = settings.TEMPLATES
    options = documented["TEMPLATES"][0]["OPTIONS"]
    settings.TEMPLATES = [{**engine, "OPTIONS": options}]
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, documented["MIDDLEWARE"][-1]]
    settings.SECURE_CSP = documented["SECURE_CSP"]
    response = signed_in.get("/in-bootstrap/5/light/")
    (script,) = re.findall(r"<script [^>]*>", response.content.decode())
    (nonce,) = re.findall(r' nonce="([^"]+)"', script)
    header = response["Content-Security-Policy"]
    assert f"script-src 'self' 'nonce-{nonce}'" in header


@pytest.mark.django_db
def test_a_nonce_in_the_context_is_that_of_the_script(user: Any, page: Page) -> None:
    assert "into the templates as `csp_nonce`" in page.text
    centre = Template('{% include "async_downloads/download_centre.html" %}')
    assert ' nonce="abc"' in centre.render(Context({"user": user, "csp_nonce": "abc"}))
    # It is handed on to the htmx that the script loads.
    script = (ROOT / "async_downloads/static/js/async_downloads_centre.js").read_text()
    assert "nonce: script.nonce" in script


def test_the_settings_of_htmx_are_ours(page: Page) -> None:
    script = (ROOT / "async_downloads/static/js/async_downloads_centre.js").read_text()
    (config,) = re.findall(r"content='({.*})'", page.snippet("htmx-config"))
    for name, value in json.loads(config).items():
        assert f"{name}: {json.dumps(value)}" in script
