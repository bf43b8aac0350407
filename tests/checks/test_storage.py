"""Checks of the storage and of serving report what is wrong, and only that."""

from pathlib import Path
from typing import Any

import pytest

from async_downloads import serving
from tests import s3
from tests.checks.test_checks import ids

FOLDER = "django.core.files.storage.FileSystemStorage"


@pytest.fixture
def keep_in(settings: Any) -> Any:
    """Return a function that keeps the files in a storage of this kind."""
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "file"
    settings.MEDIA_URL = "/media/"

    def use(backend: str, **options: Any) -> None:
        storage = {"BACKEND": backend, "OPTIONS": options}
        settings.STORAGES = {**settings.STORAGES, "mine": storage}
        settings.ASYNC_DOWNLOADS_STORAGE = "mine"

    return use


@pytest.fixture
def keep_in_s3(settings: Any) -> Any:
    """Return a function that keeps the files in S3 with these options."""
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "file"

    def use(**options: Any) -> None:
        settings.STORAGES = s3.storages("http://127.0.0.1:1", **options)
        settings.ASYNC_DOWNLOADS_STORAGE = "s3"

    return use


# E007


def test_an_unknown_alias_is_an_error(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_STORAGE = "nowhere"
    assert ids(deploy=True) == ["E007", "W005"]


@pytest.mark.parametrize(
    ("backend", "options"), [("no.such.Storage", {}), (FOLDER, {"no_such_option": 1})]
)
def test_a_storage_that_cannot_be_created_is_an_error(
    keep_in: Any, backend: str, options: Any
) -> None:
    keep_in(backend, **options)
    assert ids(deploy=True) == ["E007"]


# E008, E009


@pytest.mark.parametrize("way", ["", None, "nginx", "STREAM", ["stream"]])
def test_an_unknown_way_of_serving_is_an_error(settings: Any, way: Any) -> None:
    settings.ASYNC_DOWNLOADS_SERVE = way
    assert ids() == ["E008"]


def test_each_way_is_accepted_with_a_suitable_storage(
    settings: Any, keep_in_s3: Any, keep_in: Any
) -> None:
    for way in serving.METHODS:
        settings.ASYNC_DOWNLOADS_SERVE = way
        keep_in_s3() if way == "redirect" else keep_in(FOLDER)
        assert ids() == [], way


@pytest.mark.parametrize("way", ["x-accel", "x-sendfile"])
def test_a_web_server_needs_a_storage_in_a_folder(settings: Any, keep_in_s3: Any, way: str) -> None:
    keep_in_s3()
    settings.ASYNC_DOWNLOADS_SERVE = way
    assert ids() == ["E009"]


@pytest.mark.parametrize("location", ["", "files/", "/files", None])
def test_a_location_begins_and_ends_with_a_slash(settings: Any, location: Any) -> None:
    settings.ASYNC_DOWNLOADS_SERVE = "x-accel"
    settings.ASYNC_DOWNLOADS_SERVE_LOCATION = location
    assert ids() == ["E009"]


def test_a_redirect_needs_signed_urls(settings: Any, keep_in: Any, keep_in_s3: Any) -> None:
    settings.ASYNC_DOWNLOADS_SERVE = "redirect"
    keep_in(FOLDER)
    assert ids() == ["E009"]
    for options in ({"querystring_auth": False}, {"custom_domain": "files.example.com"}):
        keep_in_s3(**options)
        assert ids() == ["E009"], options


# W015


@pytest.mark.parametrize("media_root", ["", "media", Path("media"), Path()])
def test_w015_reports_a_folder_that_differs_between_processes(
    settings: Any, media_root: str | Path
) -> None:
    settings.MEDIA_ROOT = media_root
    assert ids() == ["W015"]


def test_w015_reports_a_storage_with_a_relative_folder(keep_in: Any) -> None:
    keep_in(FOLDER, location="downloads")
    assert ids() == ["W015"]


def test_w015_accepts_an_absolute_folder_and_a_storage_without_one(
    settings: Any, keep_in: Any, keep_in_s3: Any, tmp_path: Path
) -> None:
    settings.MEDIA_ROOT = ""
    keep_in(FOLDER, location=tmp_path)
    assert ids() == []
    keep_in("django.core.files.storage.InMemoryStorage")
    assert ids() == []
    keep_in_s3()
    assert ids() == []


# W007


@pytest.mark.parametrize("inside", ["", "downloads", "some/where"])
def test_a_folder_in_public_media_is_reported_in_production(
    settings: Any, keep_in: Any, inside: str
) -> None:
    keep_in(FOLDER, location=str(Path(settings.MEDIA_ROOT) / inside))
    assert ids() == []
    assert ids(deploy=True) == ["W007"]


def test_a_symbolic_link_into_public_media_is_followed(
    settings: Any, keep_in: Any, tmp_path: Path
) -> None:
    Path(settings.MEDIA_ROOT).mkdir(parents=True, exist_ok=True)
    link = tmp_path / "link"
    link.symlink_to(settings.MEDIA_ROOT)
    keep_in(FOLDER, location=str(link))
    assert ids(deploy=True) == ["W007"]


def test_a_folder_that_is_not_public_is_accepted(
    settings: Any, keep_in: Any, tmp_path: Path
) -> None:
    keep_in(FOLDER, location=str(tmp_path))
    assert ids(deploy=True) == []
    keep_in("django.core.files.storage.InMemoryStorage")
    assert ids(deploy=True) == []
    keep_in(FOLDER)
    settings.MEDIA_URL = ""
    assert ids(deploy=True) == []
    settings.MEDIA_URL, settings.MEDIA_ROOT = "/media/", ""
    keep_in(FOLDER, location=str(tmp_path))
    assert ids(deploy=True) == []


# W008


def test_s3_without_a_spool_limit_is_reported_in_production(settings: Any, keep_in_s3: Any) -> None:
    keep_in_s3()
    assert ids(deploy=True) == ["W008"]
    keep_in_s3(max_memory_size=1_000_000)
    assert ids(deploy=True) == []
    settings.ASYNC_DOWNLOADS_SERVE = "redirect"
    keep_in_s3()
    assert ids(deploy=True) == []
