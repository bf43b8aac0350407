"""Files that the web server or the storage sends after Django has checked the request."""

from typing import Any
from urllib.parse import unquote

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import InMemoryStorage
from django.test import RequestFactory

from async_downloads import serving
from async_downloads.files import storage

NAMES = ["orders.csv", "Größe & 100 % ?#;+.csv", "注文 %2e%2e.csv"]


def handed_over(name: str, filename: str = "Aufträge.html") -> Any:
    path = storage.storage().save(f"downloads/key/{name}", ContentFile(b"a,b\n"))
    attachment = serving.Attachment(path, filename, 4, '"tag"')
    return serving.serve(RequestFactory().get("/"), attachment)


@pytest.fixture(params=["x-accel", "x-sendfile"])
def way(request: pytest.FixtureRequest, settings: Any) -> str:
    way: str = request.param
    settings.ASYNC_DOWNLOADS_SERVE = way
    return way


def test_the_response_has_every_header_and_no_bytes(way: str) -> None:
    response = handed_over("orders.csv")
    assert response.content == b""
    assert response["Content-Type"] == "text/html"
    assert response["Content-Disposition"] == "attachment; filename*=utf-8''Auftr%C3%A4ge.html"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Cache-Control"] == "private, no-store"


@pytest.mark.parametrize("name", NAMES)
def test_the_path_is_encoded_once(way: str, name: str, settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_SERVE_LOCATION = "/inside/"
    path = handed_over(name)[{"x-accel": "X-Accel-Redirect", "x-sendfile": "X-Sendfile"}[way]]
    assert path.isascii()
    assert not set(path) & set(" ?#;")
    before = "/inside" if way == "x-accel" else settings.MEDIA_ROOT
    assert unquote(path) == f"{before}/downloads/key/{name}"


def test_without_s3_the_redirect_leads_to_the_url_of_the_storage(settings: Any) -> None:
    backend = f"{InMemoryStorage.__module__}.{InMemoryStorage.__name__}"
    options = {"base_url": "https://storage.example/"}
    settings.STORAGES = {**settings.STORAGES, "away": {"BACKEND": backend, "OPTIONS": options}}
    settings.ASYNC_DOWNLOADS_STORAGE = "away"
    settings.ASYNC_DOWNLOADS_SERVE = "redirect"
    response = handed_over("orders.csv")
    assert response.status_code == 302
    assert response["Location"] == "https://storage.example/downloads/key/orders.csv"
    assert response["Cache-Control"] == "private, no-store"


@pytest.mark.parametrize("name", ["//[x.csv", "http://[/x.csv", "a:b.csv", "x.CSV"])
def test_a_name_that_looks_like_a_url_has_a_content_type(name: str) -> None:
    assert serving.Attachment("downloads/key/x", name, 4, '"tag"').content_type == "text/csv"
