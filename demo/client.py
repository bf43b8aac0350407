"""A person with a browser, as far as the standard library goes."""

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
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

__all__ = ["Answer", "Client", "Form", "Page"]

TIMEOUT: Final = 30.0


@dataclass(slots=True)
class Form:
    """A form of a page.

    Attributes:
        action: Where it is sent.
        values: What it is sent with if nobody touches it.
        blanks: The names of the fields that a person fills in.
    """

    action: str
    values: dict[str, str] = field(default_factory=dict)
    blanks: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said."""

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
    """One person: a cookie jar, and nothing remembered from one page to the next.

    Args:
        address: Where the site is.
        jar: The cookies of the same person at another address of the same site.
    """

    def __init__(self, address: str, jar: CookieJar | None = None) -> None:
        self.jar = CookieJar() if jar is None else jar
        self._address = address
        self._opener = build_opener(
            # A proxy that is set for the outside has nothing to do with a loopback address.
            ProxyHandler({}),
            HTTPCookieProcessor(self.jar),
            _NoRedirects,
        )

    def get(self, path: str, **headers: str) -> Answer:
        """Fetch a page; a redirect is an answer like any other."""
        return self._ask(path, None, headers)

    def post(self, path: str, values: dict[str, str], **headers: str) -> Answer:
        """Send values as a form does, and go where the answer says."""
        answer = self._ask(path, urlencode(values).encode(), headers)
        if answer.status in {301, 302, 303}:
            return self.get(urljoin(answer.url, answer.headers["Location"]))
        return answer

    def submit(self, form: Form, **values: str) -> Answer:
        """Send a form, with what a person put into it."""
        return self.post(form.action, form.values | values)

    def _ask(self, path: str, data: bytes | None, headers: dict[str, str]) -> Answer:
        url = urljoin(self._address, path)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        request = Request(url, data, names)  # noqa: S310 (it is a server of our own)
        try:
            response = self._opener.open(request, timeout=TIMEOUT)
        except HTTPError as error:
            response = error
        with response:
            return Answer(response.status, response.headers, response.read(), url)


class Page(HTMLParser):
    """The forms of a page, and the version that a list of downloads carries.

    Attributes:
        forms: All of them, in the order of the page.
        version: What htmx would send along when it asks again; empty if there is no list.
        polls: Whether htmx would ask again by itself, if need be for want of a websocket.
    """

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.version = ""
        self.polls = False
        self._url = answer.url
        self._open: Form | None = None
        self.feed(answer.text)

    def form(self, *, action: str = "", blank: str = "", **values: str) -> Form:
        """Return the first form that is sent to ``action`` with these values.

        Raises:
            LookupError: There is none.
        """
        for form in self.forms:
            matches = not action or form.action == urljoin(self._url, action)
            if (
                matches
                and (not blank or blank in form.blanks)
                and values.items() <= form.values.items()
            ):
                return form
        raise LookupError(f"The page has no form for {action or blank} {values or ''}".strip())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take notice of a form, a field of one, or what htmx sends."""
        attributes = {name: value or "" for name, value in attrs}
        if "version" in (sent := json.loads(attributes.get("hx-vals", "{}"))):
            self.version = sent["version"]
            asks = "every" in attributes.get("hx-trigger", "")
            self.polls = asks or "data-poll-seconds" in attributes
        if tag == "form":
            # A form without an action is sent to the page that it is on.
            self._open = Form(urljoin(self._url, attributes.get("action", "")))
            self.forms.append(self._open)
        elif tag == "input" and self._open is not None:
            name = attributes.get("name", "")
            if attributes.get("type") == "hidden":
                self._open.values[name] = attributes.get("value", "")
            else:
                self._open.blanks.append(name)

    def handle_endtag(self, tag: str) -> None:
        """Take notice of the end of a form."""
        if tag == "form":
            self._open = None


class _NoRedirects(HTTPRedirectHandler):
    """Hands a redirect over as it is, so that a test can see it."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None
