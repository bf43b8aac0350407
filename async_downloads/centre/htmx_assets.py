"""The URLs and contents of htmx and of the download centre's script.

htmx comes with django-htmx. A site with ``django_htmx`` in INSTALLED_APPS serves it
as a static file. For other sites, such as those that come from 0.6, a view sends it.
"""

import hashlib
from functools import lru_cache
from importlib import resources
from typing import Final

from django.apps import apps
from django.templatetags.static import static
from django.urls import reverse

__all__ = ["SCRIPTS", "content", "etag", "url", "urls"]

#: The app and the static file of each script, by the name in its URL.
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
    """Return the URLs of htmx and its extensions, by their names in the template context."""
    return {
        "htmx": url("htmx-2.min.js"),
        "htmx_ws": url("hx-ws-2.min.js"),
        "htmx4_ws": url("hx-ws-4.min.js"),
    }


@lru_cache(maxsize=16)
def etag(name: str) -> str | None:
    """Return the entity tag of a script; None for an unknown script."""
    if name not in SCRIPTS:
        return None
    return f'"{hashlib.sha256(content(name)).hexdigest()[:32]}"'


def content(name: str) -> bytes:
    """Return a script of ``SCRIPTS``.

    Raises:
        KeyError: The script is unknown.
    """
    app, path = SCRIPTS[name]
    return resources.files(app).joinpath("static", path).read_bytes()
