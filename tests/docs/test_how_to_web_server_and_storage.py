"""Files that a web server or S3 sends, as the page sets it up.

A real nginx sends files with the page's configuration in tests/faults/test_nginx.py, a real
Apache in tests/faults/test_apache.py, and a storage of S3 signs links in tests/test_storage_s3.py.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from django.test import Client

from async_downloads import serving
from async_downloads import settings as package_settings
from tests.docs.helpers import problems, rows_of
from tests.factories import DownloadFactory
from tests.faults import test_apache, test_nginx
from tests.faults.apache import parsed_by_apache
from tests.faults.nginx import parsed_by_nginx
from tests.snippets import PAGES

pytestmark = pytest.mark.any_database

PAGE = "docs/how-to/web-server-and-storage.md"

WEB_SERVER = PAGES[PAGE]

COVERED = {
    '"location": "/srv/shop/downloads"': "test_each_way_satisfies_the_checks",
    'SERVE = "x-accel"': "test_each_way_satisfies_the_checks",
    'SERVE = "x-sendfile"': "test_each_way_satisfies_the_checks",
    "    internal;": "test_nginx_has_the_location_that_is_the_default",
    "<VirtualHost": "test_apache_may_send_from_the_folder_of_the_storage",
    "django-storages[s3]": "test_each_way_satisfies_the_checks",
    "S3Storage": "test_each_way_satisfies_the_checks",
}

FOLDER = '"location": "/srv/shop/downloads"'

NAMES = ["STORAGES", "ASYNC_DOWNLOADS_STORAGE", "ASYNC_DOWNLOADS_SERVE"]


@pytest.mark.parametrize(
    ("way", "blocks"),
    [
        ("x-accel", [FOLDER, 'SERVE = "x-accel"']),
        ("x-sendfile", [FOLDER, 'SERVE = "x-sendfile"']),
        ("redirect", ["S3Storage"]),
    ],
)
def test_each_way_satisfies_the_checks(
    as_documented: Callable[..., dict[str, Any]], settings: Any, way: str, blocks: list[str]
) -> None:
    documented = as_documented(*blocks)
    assert documented["ASYNC_DOWNLOADS_SERVE"] == way
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "file"
    assert problems(settings, documented, NAMES) == []


def test_the_table_lists_every_way() -> None:
    ways = [row[0].strip('`"') for row in rows_of(WEB_SERVER.text, "| value | who sends")]
    assert ways == list(serving.METHODS)


def test_nginx_has_the_location_that_is_the_default() -> None:
    assert test_nginx.test_the_owner_gets_the_file_whole_or_in_part
    configuration = WEB_SERVER.snippet("    internal;")
    location = package_settings.DEFAULTS["SERVE_LOCATION"]
    assert f"location {location} {{" in configuration
    (folder,) = re.findall(r'"location": "(.*?)"', WEB_SERVER.text)
    assert f"alias {folder}/;" in configuration
    assert location.endswith("/")


def test_nginx_understands_its_configuration(tmp_path: Path) -> None:
    parsed_by_nginx(WEB_SERVER.snippet("    internal;"), tmp_path)


def test_apache_may_send_from_the_folder_of_the_storage() -> None:
    assert test_apache.test_the_owner_gets_the_file_whole_or_in_part
    configuration = WEB_SERVER.snippet("<VirtualHost")
    (folder,) = re.findall(r'"location": "(.*?)"', WEB_SERVER.text)
    assert re.findall(r'^ *XSendFilePath "(.*)"$', configuration, re.MULTILINE) == [folder]


def test_apache_understands_its_configuration(tmp_path: Path) -> None:
    parsed_by_apache(WEB_SERVER.snippet("<VirtualHost"), tmp_path)


@pytest.mark.django_db(transaction=True)
def test_the_header_for_apache_is_an_encoded_path_in_the_folder(
    as_documented: Callable[..., dict[str, Any]],
    settings: Any,
    signed_in: Client,
    user: Any,
    tmp_path: Path,
) -> None:
    documented = as_documented(FOLDER, 'SERVE = "x-sendfile"')
    for name in NAMES:
        setattr(settings, name, documented[name])
    settings.STORAGES["downloads"]["OPTIONS"]["location"] = str(tmp_path)
    name = "Größe 100 %.csv"
    download = DownloadFactory(collection__user=user, complete=True, filename=name)
    header = signed_in.get(download.url).headers["X-Sendfile"]
    assert header.isascii()
    assert "%25" in header
    assert Path(unquote(header)) == tmp_path / download.filepath
    assert (tmp_path / download.filepath).name == name


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("way", ["x-accel", "x-sendfile", "stream"])
def test_all_ways_send_the_same_headers(
    settings: Any, signed_in: Client, user: Any, way: str
) -> None:
    settings.ASYNC_DOWNLOADS_SERVE = way
    download = DownloadFactory(collection__user=user, complete=True, filename="ä" * 300 + ".csv")
    response = signed_in.get(download.url)
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "private, no-store"
    name = unquote(response.headers["Content-Disposition"].partition("''")[2])
    assert (len(name.encode()) <= 255, name.endswith(".csv")) == (True, True)
    response.close()
