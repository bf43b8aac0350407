"""The check on one machine: three people use the exports of the home page."""

import csv
import io
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Final

from django.conf import settings
from django.urls import reverse
from django_q.models import OrmQ

from demo.checks import steps
from demo.checks.page import Page
from demo.checks.person import Person
from demo.checks.sharing import check_lifetime, check_team
from demo.checks.steps import TIMEOUT, Entry, Log, expect, wait_until
from demo.http_client import Client
from demo.servers.single_machine import SingleMachine
from demo.servers.supervisor import Supervisor
from demo.shop.models import Order, Product
from demo.shop.tasks import ARTICLES_SENT, HEADER

__all__ = ["run"]

POLL_SECONDS: Final = 0.1

#: Seconds in which an idle worker would have taken a task.
IDLE_SECONDS: Final = 1.5

#: The exports that end with a file, besides those of the other steps, and how the file begins.
FILES: Final = {
    "orders-workbook": b"PK",
    "orders-by-status": b"PK",
    "orders-for-programs": b"\x1f\x8b",
    "price-list": b"<!doctype html>",
}

#: The formats of an export of rows, and how its file begins.
FORMATS: Final = {
    "csv": b"Article number,",
    "tsv": b"Article number\t",
    "xlsx": b"PK",
    "jsonl": b'{"Article number":',
}


def run(port: int) -> int:
    """Run the check, and return the exit code."""
    servers = SingleMachine(port)
    return steps.run(servers, lambda log: SingleMachineCheck(servers, log).run())


class SingleMachineCheck:
    """The steps, in order."""

    def __init__(self, servers: Supervisor, log: Log) -> None:
        self._servers = servers
        self._log = log
        self._orders = Order.objects.count()
        self._ada = Person(servers.address, "ada")
        self._grace = Person(servers.address, "grace")
        self._joan = Person(servers.address, "joan")

    def run(self) -> None:
        """Do the steps.

        Raises:
            CheckError: A step failed. The steps after it were not done.
        """
        for person in (self._ada, self._grace, self._joan):
            with self._log.step(f"{person.username} signs in with the form"):
                person.sign_in()
        key = self._export_orders()
        entry = self._fetch(key)
        self._refuse_others(entry)
        self._clear(entry)
        self._export_files()
        check_team(self._servers, self._log, self._ada, self._joan, self._grace)
        check_lifetime(self._servers, self._log, self._ada)
        self._truncate()
        self._fail()
        self._cancel()
        with self._log.step("The lists and the queue are empty"):
            people = (self._ada, self._grace, self._joan)
            self._until(
                lambda: not OrmQ.objects.exists() and not any(map(Person.downloads, people)),
                "the queue or a list still has an entry",
            )

    def _export_orders(self) -> str:
        with self._log.step("ada starts the export of all orders with its button"):
            key = self._ada.start("orders")
        with self._log.step("It is complete") as details:
            details.extend(self._follow(key))
        return key

    def _follow(self, key: str) -> list[str]:
        """Poll as JSON and as htmx until a download is complete; its card shows that, too."""
        shown_in_card = False
        percentages: list[int] = []
        unchanged = 0
        page = Page(self._ada.poll(""))
        deadline = time.monotonic() + TIMEOUT
        while page.polls:
            expect(time.monotonic() < deadline, f"it takes more than {TIMEOUT:.0f} s")
            entry = self._ada.download(key)
            expect(entry["state"] != "failed", f"it failed: {entry['errors']}")
            percentages.append(entry["percentage"])
            shown_in_card = shown_in_card or "<progress" in self._ada.cards()
            response = self._ada.poll(page.version)
            if response.status == HTTPStatus.NO_CONTENT:
                unchanged += 1
            else:
                page = Page(response)
            self._servers.wait(POLL_SECONDS)
        expect(
            self._ada.download(key)["complete"], "the page stops polling, but it is not complete"
        )
        expect(percentages == sorted(percentages), f"the percentage goes back: {percentages}")
        expect(len(set(percentages)) > 2, f"the list shows no progress: {percentages}")
        expect(unchanged > 0, "no poll of an unchanged list was answered with 204")
        expect(shown_in_card, "its card shows no progress")
        expect(self._ada.download(key)["url"] in self._ada.cards(), "its card has no link")
        path = " → ".join(str(percentage) for percentage in sorted({*percentages, 100}))
        return [f"{path} %", f"{unchanged} unchanged polls answered with 204"]

    def _fetch(self, key: str) -> Entry:
        with self._log.step("The file has a row for each order in the database") as details:
            entry = self._ada.download(key)
            response = self._ada.client.get(entry["url"])
            expect(response.status == HTTPStatus.OK, f"its URL answers with {response.status}")
            disposition = response.headers["Content-Disposition"] or ""
            expect(disposition.startswith("attachment"), f"it is sent as {disposition!r}")
            rows = csv.reader(io.StringIO(response.text, newline=""))
            header = next(rows)
            expect(header == HEADER, f"the header is {header}")
            count = sum(len(row) == len(HEADER) for row in rows)
            expect(count == self._orders, f"it has {count:,} rows for {self._orders:,} orders")
            details.append(f"{count:,} rows")
            details.append(f"{len(response.body) / 1e6:.1f} MB")
        return entry

    def _refuse_others(self, entry: Entry) -> None:
        with self._log.step("grace gets 404 for ada's file, and a visitor the sign-in page"):
            status = self._grace.client.get(entry["url"]).status
            expect(status == HTTPStatus.NOT_FOUND, f"grace gets {status}")
            response = Client(self._servers.address).get(entry["url"])
            expect(response.status == HTTPStatus.FOUND, f"a visitor gets {response.status}")
            location = response.headers["Location"]
            expect(location.startswith(reverse("login")), f"a visitor is sent to {location}")

    def _clear(self, entry: Entry) -> None:
        with self._log.step("ada clears it: the list, the URL and the disk no longer have it"):
            expect(_path(entry).is_file(), "the file was not on the disk before")
            self._ada.clear(entry["download_key"])
            status = self._ada.client.get(entry["url"]).status
            expect(status == HTTPStatus.NOT_FOUND, f"its URL answers with {status}")
            expect(not _path(entry).parent.exists(), "the file is still on the disk")

    def _export_files(self) -> None:
        for slug, begin in FILES.items():
            with self._log.step(f"The export {slug} is complete") as details:
                key = self._ada.start(slug)
                entry = self._wait_for(key, lambda entry: entry["complete"])
                body = self._ada.client.get(entry["url"]).body
                expect(body.startswith(begin), f"the file begins with {body[:20]!r}")
                details.append(f"{len(body) / 1e6:.1f} MB")
                self._ada.clear(key)

        with self._log.step("Rows become each format that a card offers") as details:
            for name, begin in FORMATS.items():
                key = self._ada.start("supplier-catalogue", name)
                entry = self._wait_for(key, lambda entry: entry["complete"])
                body = self._ada.client.get(entry["url"]).body
                expect(body.startswith(begin), f"{name}: the file begins with {body[:20]!r}")
                self._ada.clear(key)
            details.extend(FORMATS)

    def _truncate(self) -> None:
        with self._log.step("The list warns of the export that has too few rows") as details:
            key = self._ada.start("supplier-catalogue")
            self._wait_for(key, lambda entry: entry["complete"])
            sent, announced = ARTICLES_SENT, Product.objects.count()
            for place, html in (("list", self._ada.list_html()), ("card", self._ada.cards())):
                expect(f"{sent} of {announced}" in html, f"the {place} does not warn")
            details.append(f"{sent} of {announced} rows")
            self._ada.clear(key)

    def _fail(self) -> None:
        with self._log.step("The export that fails half-way says why") as details:
            key = self._ada.start("stock-audit")
            entry = self._wait_for(key, _has_ended)
            expect(entry["state"] == "failed", f"it is {entry['state']}")
            expect("stopped answering" in entry["errors"], f"it says {entry['errors']!r}")
            expect(entry["can_retry"], "it cannot be tried again")
            expect(not entry["url"], "it has a URL")
            expect(not _path(entry).exists(), "half a file is on the disk")
            details.append(f"at {entry['percentage']} %: “{entry['errors']}”")
        with self._log.step("Tried again, it is complete"):
            self._ada.try_again(key)
            entry = self._wait_for(key, _has_ended)
            expect(entry["complete"], f"it is {entry['state']}: {entry['errors']}")
            self._ada.clear(key)

    def _cancel(self) -> None:
        people = [self._ada, self._grace]
        workers = settings.Q_CLUSTER["workers"]
        expect(workers == len(people), f"{workers} workers for {len(people)} people")
        with self._log.step(f"{workers} long exports keep all workers busy, and another waits"):
            long = [(person, person.start("invoice-archive")) for person in people]
            self._until(
                lambda: all(person.download(key)["percentage"] > 0 for person, key in long),
                "they do not begin",
            )
            waiting = self._ada.start("orders-plain")
            self._servers.wait(IDLE_SECONDS)
            state = self._ada.download(waiting)["state"]
            expect(state == "pending", f"it is {state} although all workers are busy")
        with self._log.step("A second click on a button shows the export that is there already"):
            for slug in ("invoice-archive", "orders-plain"):
                self._ada.join(slug)
        with self._log.step("Cancelled while running, they free their workers") as details:
            for person, key in long:
                person.clear(key)
            self._wait_for(waiting, lambda entry: entry["state"] != "pending")
            details.append("the waiting export has started")
        with self._log.step("The export of plain columns is complete"):
            self._wait_for(waiting, lambda entry: entry["complete"])
        self._clear(self._fetch(waiting))

    def _wait_for(self, key: str, condition: Callable[[Entry], bool]) -> Entry:
        """Poll a download until the condition holds, and return it."""
        entry: Entry = {}

        def holds() -> bool:
            entry.update(self._ada.download(key))
            return condition(entry)

        self._until(holds, "it does not get there")
        return entry

    def _until(self, condition: Callable[[], bool], problem: str) -> None:
        wait_until(self._servers, condition, problem, every=POLL_SECONDS)


def _has_ended(entry: Entry) -> bool:
    return entry["state"] not in {"pending", "running"}


def _path(entry: Entry) -> Path:
    return Path(settings.MEDIA_ROOT, entry["filepath"])
