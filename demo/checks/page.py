"""The forms of an HTML page, and the state of its list of downloads."""

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
        buttons: The name, the value and the URL of each button; empty without one of its own.
    """

    action: str
    values: dict[str, str] = field(default_factory=dict)
    blanks: list[str] = field(default_factory=list)
    buttons: list[tuple[str, str, str]] = field(default_factory=list)

    def pressed(self, value: str) -> "list[Form]":
        """Return what the buttons with this value send."""
        return [
            Form(action or self.action, self.values | {name: value}, self.blanks)
            for name, own, action in self.buttons
            if own == value
        ]


class Page(HTMLParser):
    """A page or a part of one that has been read.

    Attributes:
        forms: Its forms, in order.
        version: The version of its list of downloads, which a poll sends. Empty without a list.
        polls: Whether the page polls, or would poll if the websocket were lost.
    """

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.version = ""
        self.polls = False
        self._url = response.url
        self._open: Form | None = None
        self.feed(response.text)

    def form(self, *, action: str = "", blank: str = "", button: str = "") -> Form:
        """Return the first form that is sent to ``action``, as a button sends it.

        Args:
            action: The URL.
            blank: The name of a field that a person fills in.
            button: The value of the button.

        Raises:
            LookupError: No form matches.
        """
        for form in self.forms:
            pressed = form.pressed(button) if button else [form]
            for sent in pressed:
                matches = not action or sent.action == urljoin(self._url, action)
                if matches and (not blank or blank in sent.blanks):
                    return sent
        raise LookupError(f"The page has no form for {action or blank} {button}".strip())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Read the begin of a form, a field, a button, or what the page's script reads."""
        attributes = {name: value or "" for name, value in attrs}
        classes = attributes.get("class", "").split()
        if "async-downloads-fragment" in classes:
            self.version = attributes["data-version"]
        elif {"async-downloads-centre", "async-downloads-summary"} & set(classes):
            self.polls = bool(attributes.get("data-poll"))
        if tag == "form":
            # A form without an action is sent to the URL of its page.
            self._open = Form(urljoin(self._url, attributes.get("action", "")))
            self.forms.append(self._open)
        elif self._open is not None:
            self._read_field(self._open, tag, attributes)

    def handle_endtag(self, tag: str) -> None:
        """Read the end of a form."""
        if tag == "form":
            self._open = None

    def _read_field(self, form: Form, tag: str, attributes: dict[str, str]) -> None:
        name, value = attributes.get("name", ""), attributes.get("value", "")
        if tag == "button":
            action = attributes.get("formaction", "")
            form.buttons.append((name, value, action and urljoin(self._url, action)))
        elif tag == "input" and attributes.get("type") == "hidden":
            form.values[name] = value
        elif tag == "select" or (tag == "input" and attributes.get("type") != "radio"):
            form.blanks.append(name)
