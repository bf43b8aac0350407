"""The request that is built from the handshake of a websocket."""

from typing import Any

import pytest
from django.urls import get_script_prefix, reverse, set_script_prefix

from async_downloads.centre import websocket_request


def scope(**kwargs: Any) -> dict[str, Any]:
    """Return the scope that an ASGI server builds from a handshake."""
    headers = [(name.encode(), value.encode()) for name, value in kwargs.pop("headers", {}).items()]
    return {"type": "websocket", "path": "/ws/downloads/", "headers": headers} | kwargs


@pytest.mark.parametrize(
    ("origin", "hosts", "same"),
    [
        (None, ["shop.example.org"], True),
        ("https://shop.example.org", ["shop.example.org"], True),
        ("https://shop.example.org:8443", ["shop.example.org"], True),
        ("https://eu.shop.example.org", [".shop.example.org"], True),
        ("https://shop.example.org", ["*"], True),
        ("https://shop.example.org", [], True),
        ("https://evil.example.com", ["shop.example.org"], False),
        ("https://evil.example.com", ["*"], False),
        ("https://shop.example.org.evil.example.com", ["shop.example.org"], False),
        ("null", ["*"], False),
        ("", ["*"], False),
        ("http://[", ["*"], False),
    ],
)
def test_only_pages_of_this_site_are_accepted(
    settings: Any, origin: str | None, hosts: list[str], same: bool
) -> None:
    settings.ALLOWED_HOSTS = hosts
    headers = {"host": "shop.example.org"} | ({} if origin is None else {"origin": origin})
    assert websocket_request.is_same_site(scope(headers=headers)) is same


@pytest.mark.parametrize(
    "query", [b"\xff&language=de", b"language=de&a=%ff", b"language=de&" * 900]
)
def test_an_undecodable_query_still_has_the_language(query: bytes) -> None:
    request = websocket_request.request_of(scope(query_string=query, headers={"cookie": "\xff=;="}))
    assert websocket_request.language_of(request) == "de"


@pytest.mark.parametrize(("scheme", "secure"), [("ws", False), ("wss", True)])
def test_the_request_has_what_templates_expect(scheme: str, secure: bool) -> None:
    request = websocket_request.request_of(
        scope(scheme=scheme, query_string=b"language=de", user="ada", headers={"cookie": "a=b"})
    )
    assert request.is_secure() is secure
    assert request.method == "GET"
    assert request.COOKIES == {"a": "b"}
    assert request.user == "ada"
    assert not hasattr(request, "session")
    assert websocket_request.language_of(request) == "de"


@pytest.mark.parametrize(
    ("server", "setting", "page", "prefix"),
    [
        ("", None, "", "/"),
        ("/shop", None, "", "/shop/"),
        ("/shop/", None, "", "/shop/"),
        ("", "/shop", "", "/shop/"),
        ("/other", "/shop", "", "/shop/"),
        # The page sends it.
        ("", None, "%2Fshop%2F", "/shop/"),
        ("/other", "/another", "%2Fshop%2Feu%2F", "/shop/eu/"),
        ("", None, "%2Fshop%2F%C3%BC%2F", "/shop/ü/"),
        # An address of another host, or one that is not a path, is ignored.
        ("/shop", None, "%2F%2Fevil.example.com%2F", "/shop/"),
        ("/shop", None, "https%3A%2F%2Fevil.example.com%2F", "/shop/"),
        ("/shop", None, "%2F%5Cevil.example.com%2F", "/shop/"),
        ("/shop", None, "%2Fx%3Fy%2F", "/shop/"),
        ("/shop", None, "shop", "/shop/"),
    ],
)
def test_urls_are_below_the_path_of_the_site(
    settings: Any, server: str, setting: str | None, page: str, prefix: str
) -> None:
    settings.FORCE_SCRIPT_NAME = setting
    request = websocket_request.request_of(
        scope(root_path=server, query_string=f"language=de&prefix={page}".encode())
    )
    set_script_prefix("/before/")
    try:
        with websocket_request.below_prefix(request):
            assert get_script_prefix() == prefix
            assert reverse("async_downloads:ajax_update").endswith("/async_downloads/ajax_update/")
        assert get_script_prefix() == "/before/"
    finally:
        set_script_prefix("/")
