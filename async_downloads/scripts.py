"""Where a page gets htmx from.

It comes with django-htmx. A site that has ``django_htmx`` in INSTALLED_APPS
serves it like any static file. For one that has not, as nobody had to under
django-async-downloads 0.6, a view of ours hands it out.
"""

from functools import cache
from importlib import resources
from importlib.metadata import version
from typing import Final

from django.apps import apps
from django.templatetags.static import static
from django.urls import reverse

__all__ = ["SCRIPTS", "content", "etag", "url"]

#: The scripts by the names that they are asked for, and where they lie in django-htmx.
SCRIPTS: Final = {
    "htmx-2.min.js": "django_htmx/htmx-2.min.js",
    "hx-ws-2.min.js": "django_htmx/ext/hx-ws-2.min.js",
    "hx-ws-4.min.js": "django_htmx/ext/hx-ws-4.min.js",
}


def url(name: str) -> str:
    """Return the URL of a script of ``SCRIPTS``."""
    if apps.is_installed("django_htmx"):
        return static(SCRIPTS[name])
    return reverse("async_downloads:script", args=[name])


@cache
def etag() -> str:
    """Return what tells a browser whether the scripts are still those that it keeps."""
    return f'"{version("django-htmx")}"'


def content(name: str) -> bytes:
    """Return a script of ``SCRIPTS``.

    Raises:
        KeyError: There is no script of this name.
    """
    return resources.files("django_htmx").joinpath("static", SCRIPTS[name]).read_bytes()
