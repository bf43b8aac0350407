"""The documentation's settings for Sphinx; ``nox -s docs`` builds it."""

import tomllib
from pathlib import Path

import django
from django.conf import settings

ROOT = Path(__file__).resolve().parent.parent
METADATA = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REPOSITORY = "https://github.com/QuickRelease/django-async-downloads"

# autodoc imports the models and the admin, which need a site around them.
settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django.contrib.sessions",
        "django_htmx",
        "django_q",
        "import_export",
        "async_downloads",
    ],
    Q_CLUSTER={"orm": "default", "timeout": 60, "retry": 120},
    USE_TZ=True,
)
django.setup()

project = METADATA["name"]
author = METADATA["authors"][0]["name"]
project_copyright = author
release = METADATA["version"]
version = release

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence"]
# The same anchors as GitHub's, so that a link works in both places.
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"

# References within the package are checked. Those to Python and Django are not: their
# inventories would have to be downloaded.
nitpick_ignore_regex = [
    ("py:.*", r"(?!async_downloads\.).*"),
    # Type variables; the models, whose page has tables; and a protocol, which the text describes.
    ("py:class", r"async_downloads\.(shortcuts\.[A-Z]|models\..*|building\.sources\.AsyncFile)"),
]

linkcheck_timeout = 20
linkcheck_retries = 2
# Addresses of the reader's own machine.
linkcheck_ignore = [r"https?://(127\.0\.0\.1|localhost)\b"]

html_theme = "furo"
html_title = project
html_theme_options = {
    "source_repository": f"{REPOSITORY}/",
    "source_branch": "main",
    "source_directory": "docs/",
}
