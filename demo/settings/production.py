"""The settings of the demo on a public server. Secrets and host names come from the environment.

``DEMO_SECRET_KEY`` and ``DEMO_ALLOWED_HOSTS`` (with commas between the names) are required.
A web server in front serves HTTPS. It must set ``X-Forwarded-Proto`` itself and must not
pass on the header of a visitor. ``DEMO_HSTS_SECONDS`` can be lower on the first day.
"""

import os

from demo.settings import *  # noqa: F403 (the same site, secured)

SHOW_SIGN_INS = False
SECRET_KEY = os.environ["DEMO_SECRET_KEY"]
ALLOWED_HOSTS = [host for host in os.environ["DEMO_ALLOWED_HOSTS"].split(",") if host]

# Links in mails lead to the first host.
ASYNC_DOWNLOADS_SITE_URL = f"https://{next(iter(ALLOWED_HOSTS), 'localhost')}"

#: ``collectstatic`` copies the files here, and the web server serves them.
STATIC_ROOT = VAR / "static"  # noqa: F405 (imported above)

SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = True
SECURE_HSTS_SECONDS = int(os.environ.get("DEMO_HSTS_SECONDS", 365 * 24 * 60 * 60))
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True

# The demo serves its metrics to everyone.
ASYNC_DOWNLOADS_METRICS = ""

# Customers enter texts, and staff open the exports in a spreadsheet.
ASYNC_DOWNLOADS_ESCAPE_FORMULAS = True
