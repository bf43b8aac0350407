"""The check on several machines: a cluster is killed while it builds an export."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final
from urllib.request import ProxyHandler, build_opener

from django.conf import settings
from django.urls import reverse
from django_q.models import OrmQ
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from async_downloads.models import Download
from demo.checks import steps
from demo.checks.person import Person
from demo.checks.steps import TIMEOUT, CheckError, Entry, Log, expect, wait_until
from demo.servers.distributed import CLUSTERS, Distributed
from demo.shop.models import Order
from demo.shop.tasks import HEADER

__all__ = ["run"]

#: Seconds between two polls, unless a step must be quick.
POLL_SECONDS: Final = 0.5

#: Polls through nginx. After as many, each server must have answered one.
POLLS: Final = 8

#: Exports to start, at most, until one is still running when its cluster is killed.
MAX_EXPORTS: Final = 3


def run(port: int) -> int:
    """Run the check with each broker, or with that of ``DEMO_BROKER``. Return the exit code."""
    chosen = os.environ.get("DEMO_BROKER")
    for broker in [chosen] if chosen else ["orm", "redis"]:
        print(f"The clusters get their tasks from the broker {broker!r}:", flush=True)
        servers = Distributed(port, broker)
        if code := steps.run(
            servers, lambda log, servers=servers: DistributedCheck(servers, log).run()
        ):
            return code
    return 0


class DistributedCheck:
    """The steps, in order."""

    def __init__(self, servers: Distributed, log: Log) -> None:
        self._servers = servers
        self._log = log
        self._ada = Person(servers.address, "ada")
        self._at_wsgi = self._ada.at(servers.wsgi)
        self._at_asgi = self._ada.at(servers.asgi)

    def run(self) -> None:
        """Do the steps.

        Raises:
            CheckError: A step failed. The steps after it were not done.
        """
        with self._log.step("ada signs in through nginx"):
            self._ada.sign_in()
        with self._log.step("Both servers answer her polls through nginx") as details:
            details.extend(self._who_answers())
        with self._socket() as socket:
            key, killed = self._kill_while_it_builds()
            (survivor,) = set(CLUSTERS) - {killed}
            self._wait_for_rescue(key, survivor)
            self._expect_pushes(socket, key)
        file = self._fetch(key)
        self._refuse_others(key)
        if self._servers.broker == "orm":
            self._wait_for_late_delivery(key)
        self._deploy(killed, file)
        with self._log.step("The WSGI server is killed, and nginx uses the other one") as details:
            self._servers.kill("WSGI server")
            details.extend(self._who_answers(servers=1))

    def _who_answers(self, servers: int = 2) -> list[str]:
        path = reverse("async_downloads:ajax_update")
        answers = [self._ada.client.get(path) for _ in range(POLLS)]
        expect(
            all(answer.status == HTTPStatus.OK for answer in answers),
            f"the statuses are {[answer.status for answer in answers]}",
        )
        # The header lists the servers that nginx tried. The last one has answered.
        served = {answer.headers["X-Served-By"].rpartition(", ")[2] for answer in answers}
        expect(len(served) == servers, f"{served} answered")
        return [f"{POLLS} polls, by {' and '.join(sorted(served))}"]

    @contextmanager
    def _socket(self) -> Iterator[ClientConnection]:
        """Open the websocket through nginx, as the page does."""
        origin = self._servers.address.rstrip("/")
        cookies = "; ".join(f"{each.name}={each.value}" for each in self._ada.client.jar)
        url = origin.replace("http", "ws", 1) + "/ws/downloads/"
        headers = {"Cookie": cookies}
        try:
            with connect(url, origin=origin, additional_headers=headers, proxy=None) as socket:
                self._log.write("Her page's websocket is open, through nginx")
                yield socket
        except WebSocketException as error:
            raise CheckError(f"the websocket: {error}") from error

    def _kill_while_it_builds(self) -> tuple[str, str]:
        """Start an export, and kill the cluster that builds it.

        Returns:
            The key of the export, and the name of the cluster.
        """
        for _ in range(MAX_EXPORTS):
            before = self._deliveries()
            with self._log.step("She starts an export on the WSGI server"):
                key = self._at_wsgi.start("orders")
            with self._log.step("The ASGI server shows its progress") as details:
                entry = self._wait_for(key, lambda entry: entry["percentage"] > 0, every=0.1)
                details.append(f"{entry['percentage']} %")
            builder = self._builder(before)
            with self._log.step(
                f"The {builder}, which builds it, is killed with all its processes"
            ) as details:
                self._servers.kill(builder)
                entry = self._at_asgi.download(key)
                details.append(f"{entry['state']}, {entry['percentage']} %")
            if entry["state"] == "running":
                return key, builder
            # It was complete before its cluster was killed.
            self._at_asgi.clear(key)
            self._servers.start_cluster(builder)
        raise CheckError(
            f"{MAX_EXPORTS} exports were complete too early; a higher DEMO_ORDERS makes them slower"
        )

    def _wait_for_rescue(self, key: str, survivor: str) -> None:
        timeout = settings.ASYNC_DOWNLOADS_STALLED_AFTER + TIMEOUT
        with self._log.step(
            f"It stalls, is queued again by itself, and the {survivor} builds it"
        ) as details:
            self._wait_for(key, lambda entry: entry["complete"], timeout=timeout)
            attempts = Download.objects.get(pk=key).attempts
            expect(attempts == 2, f"it took {attempts} attempts")
            expect(self._servers.deliveries(survivor) > 0, "the other cluster did not build it")
            details.append(f"{attempts} attempts")

    def _wait_for_late_delivery(self, key: str) -> None:
        """Wait until the queue has delivered the task of the killed cluster again."""
        with self._log.step("The queue delivers the first task again, which changes nothing"):
            wait_until(
                self._servers,
                lambda: not OrmQ.objects.exists(),
                "the queue still has it",
                timeout=settings.Q_CLUSTER["retry"] + TIMEOUT,
                every=POLL_SECONDS,
            )
            download = Download.objects.get(pk=key)
            expect(download.complete, f"it is {download.state}")
            expect(download.attempts == 2, f"it took {download.attempts} attempts")

    def _expect_pushes(self, socket: ClientConnection, key: str) -> None:
        link = self._at_asgi.download(key)["url"]
        pushes = 0
        with self._log.step(
            "The websocket has brought each change to the page, and the link to the file"
        ) as details:
            text = ""
            while link not in text:
                try:
                    text = str(socket.recv(timeout=TIMEOUT))
                except TimeoutError:
                    raise CheckError("the link to the file was never pushed") from None
                pushes += 1
            details.append(f"{pushes} pushes")

    def _fetch(self, key: str) -> bytes:
        with self._log.step("The file comes from S3, through a signed link for her") as details:
            answer = self._ada.client.get(self._ada.download(key)["url"])
            expect(answer.status == HTTPStatus.FOUND, f"nginx answers with {answer.status}")
            link = answer.headers["Location"] or ""
            expect("X-Amz-Signature=" in link, f"the link is not signed: {link}")
            # Without her cookies: S3 must not get them.
            with build_opener(ProxyHandler({})).open(link, timeout=TIMEOUT) as response:
                file: bytes = response.read()
            size = Download.objects.get(pk=key).size
            expect(len(file) == size, f"it has {len(file)} bytes, not {size}")
            lines = file.splitlines()
            expect(lines[0].decode() == ",".join(HEADER), f"the header is {lines[0]!r}")
            expect(len(lines) - 1 == Order.objects.count(), f"it has {len(lines) - 1:,} rows")
            details.append(f"{len(lines) - 1:,} rows")
            details.append(f"{len(file) / 1e6:.1f} MB")
        return file

    def _refuse_others(self, key: str) -> None:
        url = self._ada.download(key)["url"]
        with self._log.step("grace gets 404 for the file from both servers"):
            grace = Person(self._servers.address, "grace")
            grace.sign_in()
            for address in (self._servers.wsgi, self._servers.asgi):
                status = grace.at(address).client.get(url).status
                expect(status == HTTPStatus.NOT_FOUND, f"{address} answers with {status}")

    def _deploy(self, killed: str, file: bytes) -> None:
        """Start the killed cluster again, and stop the cluster that builds, as a deploy does."""
        with self._log.step(f"The {killed} is started again, and an export on the ASGI server"):
            self._servers.start_cluster(killed)
            before = self._deliveries()
            key = self._at_asgi.start("orders")
            self._wait_for(key, lambda entry: entry["state"] == "running", every=0.1)
        builder = self._builder(before)
        with self._log.step(
            f"SIGTERM stops the {builder} after it has finished the export"
        ) as details:
            code = self._servers.stop_gracefully(builder, TIMEOUT)
            expect(code == 0, f"it ended with the exit code {code}")
            download = Download.objects.get(pk=key)
            expect(download.complete, f"it is {download.state}")
            details.append(f"{download.attempts} attempt")
        again = self._fetch(key)
        expect(again == file, "the two files are not the same")
        self._log.write("Both files are the same to the byte")

    def _builder(self, before: dict[str, int]) -> str:
        """Return the cluster that has begun an export since."""
        after = self._deliveries()
        builders = [name for name in CLUSTERS if after[name] > before[name]]
        expect(len(builders) == 1, f"it was begun by {builders or 'neither cluster'}")
        return builders[0]

    def _deliveries(self) -> dict[str, int]:
        return {name: self._servers.deliveries(name) for name in CLUSTERS}

    def _wait_for(
        self,
        key: str,
        condition: Callable[[Entry], bool],
        *,
        timeout: float = TIMEOUT,
        every: float = POLL_SECONDS,
    ) -> Entry:
        """Poll a download on the ASGI server until the condition holds, and return it."""
        entry: Entry = {}

        def holds() -> bool:
            entry.update(self._at_asgi.download(key))
            expect(entry["state"] != "failed", f"it failed: {entry['errors']}")
            return condition(entry)

        wait_until(self._servers, holds, "it does not get there", timeout=timeout, every=every)
        return entry
