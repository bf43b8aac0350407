"""A person who uses the shop, as far as HTTP goes."""

from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode, urlsplit

from django.urls import reverse

from demo.checks.page import Form, Page
from demo.checks.steps import Entry, expect
from demo.http_client import Client, Response
from demo.shop.exports import EXPORTS
from demo.shop.people import SIGN_INS

__all__ = ["Person"]


class Person:
    """A user of the shop.

    Args:
        address: The address of the shop.
        username: The user name.
    """

    def __init__(self, address: str, username: str) -> None:
        self.username = username
        self.client = Client(address)

    def at(self, address: str) -> "Person":
        """Return the same person, with the same session, at another address of the shop."""
        person = Person(address, self.username)
        person.client = Client(address, self.client.jar)
        return person

    def sign_in(self) -> None:
        """Open the home page, follow the redirect to the sign-in page and fill in its form."""
        password = next(person.password for person in SIGN_INS if person.username == self.username)
        redirect = self.client.get(reverse("home"))
        expect(redirect.status == HTTPStatus.FOUND, "a visitor sees the page without signing in")
        form = Page(self.client.get(redirect.headers["Location"])).form(blank="password")
        page = self.submit(form, username=self.username, password=password)
        signed_in = page.status == HTTPStatus.OK and urlsplit(page.url).path == reverse("home")
        expect(signed_in, f"{self.username} could not sign in")

    def home(self) -> Page:
        """Open the home page."""
        return Page(self.client.get(reverse("home")))

    def downloads(self) -> dict[str, Entry]:
        """Return the list of downloads from its JSON, by their keys."""
        return {entry["download_key"]: entry for entry in self._list()["downloads"]}

    def list_html(self) -> str:
        """Return the list of downloads as HTML, from the same JSON."""
        html: str = self._list()["html"]
        return html

    def download(self, key: str) -> Entry:
        """Return one download of the list."""
        downloads = self.downloads()
        expect(key in downloads, "it is not in the list any more")
        return downloads[key]

    def poll(self, version: str) -> Response:
        """Poll the list as a page with an open menu does."""
        query = f"?{urlencode({'version': version})}" if version else ""
        path = reverse("async_downloads:ajax_update") + query
        return self.client.get(path, HX_Request="true", HX_Target="downloads-dropdown")

    def cards(self) -> str:
        """Return what the cards of the home page show of their downloads."""
        return self.client.get(reverse("export_states")).text

    def all_downloads(self) -> Page:
        """Open the page of all downloads."""
        return Page(self.client.get(reverse("async_downloads:download_list")))

    def start(self, slug: str, choice: str = "") -> str:
        """Click the button of an export, and return the key of the download that appears.

        Args:
            slug: The export.
            choice: The format or lifetime to choose; the first one if left out.
        """
        new = self._click(slug, "has started", choice)
        expect(len(new) == 1, f"{len(new)} downloads appeared in the list, not one")
        return new.pop()

    def join(self, slug: str) -> None:
        """Click the button of an export that is in progress already."""
        new = self._click(slug, "is in progress already")
        expect(not new, f"{len(new)} more downloads appeared in the list")

    def try_again(self, key: str) -> None:
        """Click the button that lets a failed download be built again."""
        form = self.all_downloads().form(action=reverse("async_downloads:retry"), button=key)
        response = self.submit(form)
        expect(response.status == HTTPStatus.OK, f"trying again answers with {response.status}")
        expect(self.download(key)["state"] != "failed", "it is still failed")

    def keep(self, key: str) -> None:
        """Click the button that keeps a file for longer."""
        form = self.all_downloads().form(action=reverse("async_downloads:keep"), button=key)
        response = self.submit(form)
        expect(response.status == HTTPStatus.OK, f"keeping it answers with {response.status}")

    def clear(self, key: str) -> None:
        """Click the button that clears or cancels a download."""
        clear = reverse("async_downloads:ajax_clear_download")
        form = self.all_downloads().form(action=clear, button=key)
        response = self.submit(form)
        expect(response.status == HTTPStatus.OK, f"clearing answers with {response.status}")
        expect(key not in self.downloads(), "it is still in the list")

    def submit(self, form: Form, **values: str) -> Response:
        """Send a form with the values that a person filled in."""
        return self.client.post(form.action, form.values | values)

    def _click(self, slug: str, message: str, chosen: str = "") -> set[str]:
        """Click the button of an export, and return the keys that appear in the list."""
        before = self.downloads()
        form = self.home().form(action=reverse("start_export", args=[slug]))
        page = self.submit(form, choice=chosen or next(iter(EXPORTS[slug].choices)))
        expect(page.status == HTTPStatus.OK, f"the button answers with {page.status}")
        expect(EXPORTS[slug].name in page.text, "the page does not name the export")
        expect(message in page.text, f"the page does not say that it {message}")
        return self.downloads().keys() - before.keys()

    def _list(self) -> Any:
        response = self.client.get(reverse("async_downloads:ajax_update"))
        expect(response.status == HTTPStatus.OK, f"the list has the status {response.status}")
        return response.json
