"""A browser of one user, without JavaScript."""

import json
import re
from dataclasses import dataclass
from http.cookiejar import CookieJar
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, ProxyHandler, Request, build_opener

from tests.pace import LONGEST_WAIT

__all__ = ["Answer", "Client"]


#: The key and the state of a download in the list.
LISTED: Final = re.compile(r'id="download-([0-9a-f-]{36})"[^>]* data-state="(\w+)"')


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a server."""

    status: int
    headers: Any
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Client:
    """Keeps cookies, sends CSRF tokens, follows redirects."""

    def __init__(self, address: str):
        self.address = address
        self._cookies = CookieJar()
        self._opener = build_opener(ProxyHandler({}), HTTPCookieProcessor(self._cookies))

    def cookie(self, name: str) -> str:
        """Return the value of a cookie; an empty text if there is none."""
        return next((cookie.value or "" for cookie in self._cookies if cookie.name == name), "")

    def get(self, path: str, *, timeout: float = LONGEST_WAIT, **headers: str) -> Answer:
        """Fetch a page. ``HX_Request="true"`` sends the header ``HX-Request``."""
        return self._request(path, None, headers, timeout)

    def post(
        self,
        path: str,
        data: dict[str, Any] | None = None,
        *,
        timeout: float = LONGEST_WAIT,
        **headers: str,
    ) -> Answer:
        """Post values as a form does."""
        headers = {"X_CSRFToken": self.cookie("csrftoken")} | headers
        return self._request(path, urlencode(data or {}).encode(), headers, timeout)

    def update(self) -> dict[str, Any]:
        """Return the JSON of ``ajax_update``: ``html``, ``downloads``, ``in_progress``."""
        answer = self.get("/async_downloads/ajax_update/")
        assert answer.status == 200, answer
        return dict(answer.json)

    def poll(self, version: str = "") -> Answer:
        """Poll as htmx does; the status is 204 if the page is up to date."""
        return self.get(f"/async_downloads/ajax_update/?version={version}", HX_Request="true")

    def version(self) -> str:
        """Return the version of the list, which an open menu sends when it polls."""
        (version,) = re.findall(r'fragment" data-version="([^"]+)"', self.poll().text)
        return str(version)

    def shown(self) -> dict[str, str]:
        """Return the state of each download in the list by its key, or ``stalled``."""
        return dict(LISTED.findall(self.update()["html"]))

    def listed(self) -> set[str]:
        """Return the keys of all downloads, even if the list shows only the newest."""
        return {entry["download_key"] for entry in self.update()["downloads"]}

    def begin(self, path: str, data: dict[str, Any] | None = None) -> str:
        """Post to a view that makes a download; return the download key."""
        return str(self.post(path, data).json["download_key"])

    def clear(self, download_key: str) -> Answer:
        """Clear a download."""
        return self.post("/async_downloads/ajax_clear_download/", {"download_key": download_key})

    def _request(
        self, path: str, data: bytes | None, headers: dict[str, str], timeout: float
    ) -> Answer:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        request = Request(self.address + path, data, names)  # noqa: S310 (a local server)
        try:
            response = self._opener.open(request, timeout=timeout)
        except HTTPError as error:
            response = error
        with response:
            return Answer(response.status, response.headers, response.read())
