"""The URLs and contents of htmx and of the download centre's scripts.

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

__all__ = ["SCRIPTS", "content", "etag", "url"]

#: The app and the static file of each script, by the name in its URL.
SCRIPTS: Final = {
    "async_downloads_centre.js": ("async_downloads", "js/async_downloads_centre.js"),
    "async_downloads_list.js": ("async_downloads", "js/async_downloads_list.js"),
    "htmx-2.min.js": ("django_htmx", "django_htmx/htmx-2.min.js"),
}


def url(name: str) -> str:
    """Return the URL of a script of ``SCRIPTS``."""
    app, path = SCRIPTS[name]
    if apps.is_installed(app):
        return static(path)
    return reverse("async_downloads:script", args=[name])


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
