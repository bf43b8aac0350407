"""A small HTTP client with cookies."""

import json
from dataclasses import dataclass
from http.client import HTTPMessage
from http.cookiejar import CookieJar
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import urlencode, urljoin
from urllib.request import (
    HTTPCookieProcessor,
    HTTPRedirectHandler,
    ProxyHandler,
    Request,
    build_opener,
)

__all__ = ["Client", "Response"]

TIMEOUT: Final = 30.0


@dataclass(frozen=True, slots=True)
class Response:
    """The response of a server."""

    status: int
    headers: HTTPMessage
    body: bytes
    url: str

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Client:
    """A client with a cookie jar.

    Args:
        address: The address of the site.
        jar: The cookies of the same person at another address of the site.
    """

    def __init__(self, address: str, jar: CookieJar | None = None) -> None:
        self.jar = CookieJar() if jar is None else jar
        self._address = address
        self._opener = build_opener(
            # A proxy is for other hosts, not for the loopback address.
            ProxyHandler({}),
            HTTPCookieProcessor(self.jar),
            _NoRedirects,
        )

    def get(self, path: str, **headers: str) -> Response:
        """Send a GET request. Do not follow a redirect."""
        return self._send(path, None, headers)

    def post(self, path: str, values: dict[str, str], **headers: str) -> Response:
        """Send values as a form does, and follow a redirect."""
        response = self._send(path, urlencode(values).encode(), headers)
        if response.status in {301, 302, 303}:
            return self.get(urljoin(response.url, response.headers["Location"]))
        return response

    def _send(self, path: str, data: bytes | None, headers: dict[str, str]) -> Response:
        url = urljoin(self._address, path)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        request = Request(url, data, names)  # noqa: S310 (a server of the demo)
        try:
            response = self._opener.open(request, timeout=TIMEOUT)
        except HTTPError as error:
            response = error
        with response:
            return Response(response.status, response.headers, response.read(), url)


class _NoRedirects(HTTPRedirectHandler):
    """Return a redirect as a response, so that a check can read it."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None
