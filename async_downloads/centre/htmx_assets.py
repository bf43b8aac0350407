"""Where a page gets htmx from, and the script of the download centre where nothing else says.

htmx comes with django-htmx. A site that has ``django_htmx`` in INSTALLED_APPS
serves it like any static file. For one that has not, as none had to under
django-async-downloads 0.6, a view hands it out.
"""

import hashlib
from functools import lru_cache
from importlib import resources
from typing import Final

from django.apps import apps
from django.templatetags.static import static
from django.urls import reverse

__all__ = ["SCRIPTS", "content", "etag", "url", "urls"]

#: The scripts by the names in their URLs, and the app and the static file that they are.
SCRIPTS: Final = {
    "async_downloads_centre.js": ("async_downloads", "js/async_downloads_centre.js"),
    "htmx-2.min.js": ("django_htmx", "django_htmx/htmx-2.min.js"),
    "hx-ws-2.min.js": ("django_htmx", "django_htmx/ext/hx-ws-2.min.js"),
    "hx-ws-4.min.js": ("django_htmx", "django_htmx/ext/hx-ws-4.min.js"),
}


def url(name: str) -> str:
    """Return the URL of a script of ``SCRIPTS``."""
    app, path = SCRIPTS[name]
    if apps.is_installed(app):
        return static(path)
    return reverse("async_downloads:script", args=[name])


def urls() -> dict[str, str]:
    """Return the URLs that the script of the download centre loads htmx from, by their names."""
    return {
        "htmx": url("htmx-2.min.js"),
        "htmx_ws": url("hx-ws-2.min.js"),
        "htmx4_ws": url("hx-ws-4.min.js"),
    }


@lru_cache(maxsize=16)
def etag(name: str) -> str | None:
    """Return what a browser knows its copy of a script by; None for an unknown script."""
    if name not in SCRIPTS:
        return None
    return f'"{hashlib.sha256(content(name)).hexdigest()[:32]}"'


def content(name: str) -> bytes:
    """Return a script of ``SCRIPTS``.

    Raises:
        KeyError: There is no script of this name.
    """
    app, path = SCRIPTS[name]
    return resources.files(app).joinpath("static", path).read_bytes()
