"""The demo without people: everything that the page offers, over real HTTP."""

import csv
import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.urls import reverse
from django_q.models import OrmQ

from demo import database
from demo.children import Children, ServiceError, log_tail
from demo.client import Answer, Client, Page
from demo.shop.exports import EXPORTS
from demo.shop.models import Order
from demo.shop.people import SIGN_INS
from demo.shop.tasks import HEADER

__all__ = [
    *("PATIENCE", "Check", "CheckError", "Entry", "Log", "Person"),
    *("expect", "run"),
]

#: Seconds that any one thing may take before it counts as failed.
PATIENCE: Final = 60.0
POLL_SECONDS: Final = 0.1

#: Seconds in which a free worker would have taken a task.
IDLE_SECONDS: Final = 1.5

Entry = dict[str, Any]


class CheckError(Exception):
    """Something did not work."""


def run(services: Children, check: Callable[["Log"], None]) -> int:
    """Check everything, and return the exit code.

    Args:
        services: What is started for it, and stopped after it.
        check: Takes one step after the other, and tells each.
    """
    log = Log()
    problems = []
    try:
        log.tell(database.prepare())
        with services:
            log.tell(f"{services.TITLE} have started at {services.address}")
            try:
                check(log)
            except OSError:
                # A child that has died explains it better than a refused connection.
                services.watch()
                raise
    except ServiceError as error:
        problems.append(str(error))
    except (CheckError, OSError) as error:
        # The logs go with the temporary folder.
        problems += [str(error), *map(log_tail, services.names)]
    except KeyboardInterrupt:
        problems.append("Interrupted.")
    if services.left_over:
        problems.append("Some processes could not be stopped.")
    elif services.address:
        log.tell(f"{services.TITLE} have stopped, and no process is left")
    log.tell("FAILED: " + "\n".join(problems) if problems else "Everything works")
    return 1 if problems else 0


class Log:
    """Tells each step, with the seconds since the start."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def tell(self, text: str) -> None:
        """Print a line."""
        print(f"{time.monotonic() - self._start:6.1f} s  {text}", flush=True)

    @contextmanager
    def step(self, text: str) -> Iterator[list[str]]:
        """Print a line once the block has worked, with what it put into the list."""
        start = time.monotonic()
        found: list[str] = []
        try:
            yield found
        except (CheckError, LookupError) as error:
            raise CheckError(f"{text}: {error}") from error
        took = f"{time.monotonic() - start:.1f} s"
        self.tell(f"{text} ({', '.join([*found, took])})")


class Person:
    """A customer at a browser."""

    def __init__(self, address: str, username: str) -> None:
        self.username = username
        self.client = Client(address)

    def at(self, address: str) -> "Person":
        """Return the same person, signed in or not, at another address of the site."""
        person = Person(address, self.username)
        person.client = Client(address, self.client.jar)
        return person

    def sign_in(self) -> None:
        """Go to the page, be sent to the sign-in form and fill it in."""
        password = next(person.password for person in SIGN_INS if person.username == self.username)
        gate = self.client.get(reverse("home"))
        expect(gate.status == HTTPStatus.FOUND, "a visitor is let in without signing in")
        form = Page(self.client.get(gate.headers["Location"])).form(blank="password")
        page = self.client.submit(form, username=self.username, password=password)
        signed_in = page.status == HTTPStatus.OK and urlsplit(page.url).path == reverse("home")
        expect(signed_in, f"{self.username} could not sign in")

    def home(self) -> Page:
        """Look at the page."""
        return Page(self.client.get(reverse("home")))

    def downloads(self) -> dict[str, Entry]:
        """Return the list of downloads as the JSON has it, by their keys."""
        answer = self.client.get(reverse("async_downloads:ajax_update"))
        expect(answer.status == HTTPStatus.OK, f"the list answers {answer.status}")
        return {entry["download_key"]: entry for entry in answer.json["downloads"]}

    def download(self, key: str) -> Entry:
        """Return one download of the list."""
        downloads = self.downloads()
        expect(key in downloads, "it has vanished from the list")
        return downloads[key]

    def poll(self, version: str) -> Answer:
        """Ask for the list as htmx does."""
        query = f"?{urlencode({'version': version})}" if version else ""
        path = reverse("async_downloads:ajax_update") + query
        return self.client.get(path, HX_Request="true", HX_Target="downloads-dropdown")

    def start(self, slug: str) -> str:
        """Press a button of the page, and return the key of the download that appears."""
        before = self.downloads()
        form = self.home().form(action=reverse("start_export", args=[slug]))
        page = self.client.submit(form)
        expect(page.status == HTTPStatus.OK, f"the button answers {page.status}")
        expect(EXPORTS[slug].name in page.text, "the page does not name the export")
        new = self.downloads().keys() - before.keys()
        expect(len(new) == 1, f"{len(new)} downloads appeared in the list, not one")
        return new.pop()

    def clear(self, key: str) -> None:
        """Press the button beside a download."""
        form = self.home().form(
            action=reverse("async_downloads:ajax_clear_download"), download_key=key
        )
        answer = self.client.submit(form)
        expect(answer.status == HTTPStatus.OK, f"clearing answers {answer.status}")
        expect(key not in self.downloads(), "it is still in the list")


class Check:
    """The steps, in their order."""

    def __init__(self, services: Children, log: Log) -> None:
        self._services = services
        self._log = log
        self._orders = Order.objects.count()
        self._ada = Person(services.address, "ada")
        self._grace = Person(services.address, "grace")

    def run(self) -> None:
        """Take one step after the other.

        Raises:
            CheckError: A step did not work; it was the last.
        """
        for person in (self._ada, self._grace):
            with self._log.step(f"{person.username} signs in with the form"):
                person.sign_in()
        key = self._export_orders()
        entry = self._fetch(key)
        self._keep_out(entry)
        self._clear(entry)
        self._fail()
        self._cancel()
        with self._log.step("The list and the queue are empty"):
            self._until(
                lambda: not OrmQ.objects.exists() and not self._ada.downloads(),
                "something is left in the queue or in the list",
            )

    def _export_orders(self) -> str:
        with self._log.step("ada starts the export of all orders with its button"):
            key = self._ada.start("orders")
        with self._log.step("It is complete") as found:
            found.extend(self._follow(key))
        return key

    def _follow(self, key: str) -> list[str]:
        """Poll as JSON and as htmx until a download is complete."""
        seen: list[int] = []
        same = 0
        page = Page(self._ada.poll(""))
        deadline = time.monotonic() + PATIENCE
        while page.polls:
            expect(time.monotonic() < deadline, f"it takes more than {PATIENCE:.0f} s")
            entry = self._ada.download(key)
            expect(entry["state"] != "failed", f"it failed: {entry['errors']}")
            seen.append(entry["percentage"])
            answer = self._ada.poll(page.version)
            if answer.status == HTTPStatus.NO_CONTENT:
                same += 1
            else:
                page = Page(answer)
            self._services.wait(POLL_SECONDS)
        expect(
            self._ada.download(key)["complete"], "the page stops polling, but it is not complete"
        )
        expect(seen == sorted(seen), f"the percentage goes back: {seen}")
        expect(len(set(seen)) > 2, f"no progress was to be seen: {seen}")
        expect(same > 0, "no poll of an unchanged list was answered with 204")
        steps = " → ".join(str(percentage) for percentage in sorted({*seen, 100}))
        return [f"{steps} %", f"{same} unchanged polls answered with 204"]

    def _fetch(self, key: str) -> Entry:
        with self._log.step("The file has a row for each order in the database") as found:
            entry = self._ada.download(key)
            answer = self._ada.client.get(entry["url"])
            expect(answer.status == HTTPStatus.OK, f"the file answers {answer.status}")
            disposition = answer.headers["Content-Disposition"] or ""
            expect(disposition.startswith("attachment"), f"it is sent as {disposition!r}")
            rows = csv.reader(io.StringIO(answer.text, newline=""))
            expect(tuple(next(rows)) == HEADER, "the header is another")
            count = sum(len(row) == len(HEADER) for row in rows)
            expect(count == self._orders, f"it has {count:,} rows for {self._orders:,} orders")
            found.append(f"{count:,} rows")
            found.append(f"{len(answer.body) / 1e6:.1f} MB")
        return entry

    def _keep_out(self, entry: Entry) -> None:
        with self._log.step("grace gets 404 for ada's file, and a visitor the sign-in page"):
            status = self._grace.client.get(entry["url"]).status
            expect(status == HTTPStatus.NOT_FOUND, f"grace gets {status}")
            visitor = Client(self._services.address).get(entry["url"])
            expect(visitor.status == HTTPStatus.FOUND, f"a visitor gets {visitor.status}")
            expect(
                visitor.headers["Location"].startswith(reverse("login")),
                f"a visitor is sent to {visitor.headers['Location']}",
            )

    def _clear(self, entry: Entry) -> None:
        with self._log.step("ada clears it: gone from the list, the URL and the disk"):
            expect(_path(entry).is_file(), "the file is not on the disk before")
            self._ada.clear(entry["download_key"])
            status = self._ada.client.get(entry["url"]).status
            expect(status == HTTPStatus.NOT_FOUND, f"its URL answers {status}")
            expect(not _path(entry).parent.exists(), "the file is still on the disk")

    def _fail(self) -> None:
        with self._log.step("The export that fails half-way says why") as found:
            key = self._ada.start("stock-audit")
            entry = self._wait_for(key, lambda entry: entry["state"] not in {"pending", "running"})
            expect(entry["state"] == "failed", f"it is {entry['state']}")
            expect("stopped answering" in entry["errors"], f"it says {entry['errors']!r}")
            expect(not entry["url"], "it has a URL")
            expect(not _path(entry).exists(), "there is half a file on the disk")
            found.append(f"at {entry['percentage']} %: “{entry['errors']}”")
            self._ada.clear(key)

    def _cancel(self) -> None:
        workers = settings.Q_CLUSTER["workers"]
        with self._log.step(f"{workers} long exports keep all workers busy, and another waits"):
            long = [self._ada.start("invoice-archive") for _ in range(workers)]
            for key in long:
                self._wait_for(key, lambda entry: entry["percentage"] > 0)
            waiting = self._ada.start("orders-plain")
            self._services.wait(IDLE_SECONDS)
            state = self._ada.download(waiting)["state"]
            expect(state == "pending", f"it is {state} although every worker is busy")
        with self._log.step("Cancelled while running, they free their workers") as found:
            for key in long:
                self._ada.clear(key)
            self._wait_for(waiting, lambda entry: entry["state"] != "pending")
            found.append("the one that waited has started")
        with self._log.step("The export of plain columns is complete"):
            self._wait_for(waiting, lambda entry: entry["complete"])
        self._clear(self._fetch(waiting))

    def _wait_for(self, key: str, condition: Callable[[Entry], bool]) -> Entry:
        """Poll a download until it is as it should be."""
        entry: Entry = {}

        def met() -> bool:
            entry.update(self._ada.download(key))
            return condition(entry)

        self._until(met, "it does not get on")
        return entry

    def _until(self, condition: Callable[[], bool], problem: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            expect(time.monotonic() < deadline, f"{problem} (within {PATIENCE:.0f} s)")
            self._services.wait(POLL_SECONDS)


def expect(condition: object, problem: str) -> None:
    """Fail the check unless the condition holds.

    Raises:
        CheckError: It does not.
    """
    if not condition:
        raise CheckError(problem)


def _path(entry: Entry) -> Path:
    return Path(settings.MEDIA_ROOT, entry["filepath"])
