"""Checks of what the pages of a site need report what is wrong, and only that."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as project_settings
from django.contrib.auth.middleware import AuthenticationMiddleware

from tests.checks.test_checks import ids


def test_w001_reports_a_site_without_the_urls_of_the_app(settings: Any) -> None:
    settings.ROOT_URLCONF = "django.contrib.auth.urls"
    assert ids() == ["W001"]


def test_w001_reports_a_site_without_urls(settings: Any) -> None:
    del settings.ROOT_URLCONF
    assert ids() == ["W001"]


@pytest.mark.parametrize(
    ("processors", "expected"),
    [
        ([], ["W002"]),
        (["django.contrib.messages.context_processors.messages"], ["W002"]),
        (["django.template.context_processors.request"], []),
        (["django.contrib.auth.context_processors.auth"], []),
    ],
)
def test_w002_reports_templates_without_the_request(
    settings: Any, processors: list[str], expected: list[str]
) -> None:
    templates = deepcopy(project_settings.TEMPLATES)
    templates[0]["OPTIONS"]["context_processors"] = processors
    settings.TEMPLATES = templates
    assert ids() == expected


def test_w002_reports_templates_without_options(settings: Any) -> None:
    settings.TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates"}]
    # They do not find the templates of the app either.
    assert ids() == ["E011", "W002"]


# W010


class OwnMiddleware(AuthenticationMiddleware):
    """A middleware of the site that extends Django's."""


AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"


@pytest.mark.parametrize(
    "instead", [[], ["no.such.Middleware"], ["tests.attempts.claimed"]], ids=str
)
def test_w010_reports_a_site_without_authentication_middleware(
    settings: Any, instead: list[str]
) -> None:
    settings.MIDDLEWARE = [path for path in settings.MIDDLEWARE if path != AUTHENTICATION] + instead
    assert ids() == ["W010"]


def test_w010_accepts_a_subclass_of_djangos_middleware(settings: Any) -> None:
    own = f"{__name__}.{OwnMiddleware.__name__}"
    settings.MIDDLEWARE = [own if path == AUTHENTICATION else path for path in settings.MIDDLEWARE]
    assert ids() == []


# E011


@pytest.mark.parametrize("name", ["no/such.html", "", None, 5, "broken.html"])
def test_e011_reports_a_template_that_cannot_be_rendered(
    settings: Any, tmp_path: Path, name: Any
) -> None:
    (tmp_path / "broken.html").write_text("{% if downloads %}")
    templates = deepcopy(project_settings.TEMPLATES)
    templates[0]["DIRS"] = [tmp_path]
    settings.TEMPLATES = templates
    settings.ASYNC_DOWNLOADS_DOWNLOAD_TEMPLATE = name
    assert ids() == ["E011"]


def test_e011_accepts_a_site_that_renders_nothing(settings: Any) -> None:
    settings.TEMPLATES = []
    assert ids() == ["W002"]


def test_e011_accepts_a_template_of_the_site(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_DOWNLOAD_TEMPLATE = "async_downloads/none.html"
    assert ids() == []
