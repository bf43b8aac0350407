"""The forms of an HTML page, and the state of its list of downloads."""

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin

from demo.http_client import Response

__all__ = ["Form", "Page"]


@dataclass(slots=True)
class Form:
    """A form of a page.

    Attributes:
        action: The URL that it is sent to.
        values: The values of its hidden fields.
        blanks: The names of the fields that a person fills in.
    """

    action: str
    values: dict[str, str] = field(default_factory=dict)
    blanks: list[str] = field(default_factory=list)


class Page(HTMLParser):
    """A page that has been read.

    Attributes:
        forms: Its forms, in order.
        version: The version of the list of downloads that htmx sends with a poll. Empty if the
            page has no list.
        polls: Whether htmx polls, or would poll if the websocket were lost.
    """

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.version = ""
        self.polls = False
        self._url = response.url
        self._open: Form | None = None
        self.feed(response.text)

    def form(self, *, action: str = "", blank: str = "", **values: str) -> Form:
        """Return the first form that is sent to ``action`` with these values.

        Raises:
            LookupError: No form matches.
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
        """Read the begin of a form, a field, or the attributes for htmx."""
        attributes = {name: value or "" for name, value in attrs}
        if "version" in (sent := json.loads(attributes.get("hx-vals", "{}"))):
            self.version = sent["version"]
            every = "every" in attributes.get("hx-trigger", "")
            self.polls = every or "data-poll-seconds" in attributes
        if tag == "form":
            # A form without an action is sent to the URL of its page.
            self._open = Form(urljoin(self._url, attributes.get("action", "")))
            self.forms.append(self._open)
        elif tag == "input" and self._open is not None:
            name = attributes.get("name", "")
            if attributes.get("type") == "hidden":
                self._open.values[name] = attributes.get("value", "")
            else:
                self._open.blanks.append(name)

    def handle_endtag(self, tag: str) -> None:
        """Read the end of a form."""
        if tag == "form":
            self._open = None
