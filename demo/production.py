"""The demo's settings for a server that people reach: what is secret or local comes from outside.

``DEMO_SECRET_KEY`` and ``DEMO_ALLOWED_HOSTS`` (divided by commas) have no defaults:
without them nothing starts. It stands behind a web server that speaks HTTPS and says
so in ``X-Forwarded-Proto``, which it must set itself and never pass on.
``DEMO_HSTS_SECONDS`` may be lowered for a first day.
"""

import os

from demo.settings import *  # noqa: F403 (the same site, hardened)

DEBUG = False
SECRET_KEY = os.environ["DEMO_SECRET_KEY"]
ALLOWED_HOSTS = [host for host in os.environ["DEMO_ALLOWED_HOSTS"].split(",") if host]

#: Where ``collectstatic`` puts what the web server hands out.
STATIC_ROOT = VAR / "static"  # noqa: F405 (of the same site)

SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = True
SECURE_HSTS_SECONDS = int(os.environ.get("DEMO_HSTS_SECONDS", 365 * 24 * 60 * 60))
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True

# People type into the shop, and staff open its exports in a spreadsheet.
ASYNC_DOWNLOADS_ESCAPE_FORMULAS = True
ASYNC_DOWNLOADS_MAX_ACTIVE = 5
