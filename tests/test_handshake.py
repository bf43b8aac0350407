"""What the handshake of a websocket tells of its page."""

from typing import Any

import pytest

from async_downloads import handshake


def scope(**kwargs: Any) -> dict[str, Any]:
    """Return what a server tells of a handshake."""
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
def test_only_a_page_of_this_site_passes(
    settings: Any, origin: str | None, hosts: list[str], same: bool
) -> None:
    settings.ALLOWED_HOSTS = hosts
    headers = {"host": "shop.example.org"} | ({} if origin is None else {"origin": origin})
    assert handshake.is_same_site(scope(headers=headers)) is same


@pytest.mark.parametrize(
    "query", [b"\xff&language=de", b"language=de&a=%ff", b"language=de&" * 900]
)
def test_a_query_that_is_no_utf8_still_says_the_language(query: bytes) -> None:
    request = handshake.request_of(scope(query_string=query, headers={"cookie": "\xff=;="}))
    assert handshake.language_of(request) == "de"


@pytest.mark.parametrize(("scheme", "secure"), [("ws", False), ("wss", True)])
def test_it_is_a_request_as_templates_expect_one(scheme: str, secure: bool) -> None:
    request = handshake.request_of(
        scope(scheme=scheme, query_string=b"language=de", user="ada", headers={"cookie": "a=b"})
    )
    assert request.is_secure() is secure
    assert request.method == "GET"
    assert request.COOKIES == {"a": "b"}
    assert request.user == "ada"
    assert not hasattr(request, "session")
    assert handshake.language_of(request) == "de"
