"""The distributed demo without people: a cluster is killed while it builds an export."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final
from urllib.request import ProxyHandler, build_opener

from django.conf import settings
from django.urls import reverse
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from async_downloads.models import Download
from demo import check
from demo.check import PATIENCE, CheckError, Entry, Log, Person, expect
from demo.machines import CLUSTERS, Machines
from demo.shop.models import Order
from demo.shop.tasks import HEADER

__all__ = ["run"]

#: Seconds between two polls, except where the moment matters.
POLL_SECONDS: Final = 0.5

#: Polls through nginx, after which each server should have answered one.
POLLS: Final = 8

#: Exports that are started, at most, to catch one while it is being built.
TRIES: Final = 3

#: What the list says of an export whose worker is gone.
STALLED: Final = "the worker stopped responding"


def run(port: int) -> int:
    """Kill a cluster with each broker, or with that of ``DEMO_BROKER``; returns the exit code."""
    told = os.environ.get("DEMO_BROKER")
    for broker in [told] if told else ["orm", "redis"]:
        print(f"The clusters are given their tasks by the broker {broker!r}:", flush=True)
        machines = Machines(port, broker)
        if code := check.run(
            machines, lambda log, machines=machines: Takeover(machines, log).run()
        ):
            return code
    return 0


class Takeover:
    """The steps, in their order."""

    def __init__(self, machines: Machines, log: Log) -> None:
        self._machines = machines
        self._log = log
        self._ada = Person(machines.address, "ada")
        self._at_wsgi = self._ada.at(machines.wsgi)
        self._at_asgi = self._ada.at(machines.asgi)

    def run(self) -> None:
        """Take one step after the other.

        Raises:
            CheckError: A step did not work; it was the last.
        """
        with self._log.step("ada signs in through nginx"):
            self._ada.sign_in()
        with self._log.step("Her polls through nginx are answered by both servers") as found:
            found.extend(self._who_answers())
        with self._socket() as socket:
            key, killed = self._kill_while_it_builds()
            (survivor,) = set(CLUSTERS) - {killed}
            if self._machines.broker == "orm":
                self._is_taken_over(key, survivor)
            else:
                key = self._is_asked_for_again(key, survivor)
            self._is_pushed(socket, key)
        file = self._fetch(key)
        self._keep_out(key)
        self._deploy(killed, file)
        with self._log.step("The WSGI server is killed, and nginx asks the other one") as found:
            self._machines.kill("WSGI server")
            found.extend(self._who_answers(servers=1))

    def _who_answers(self, servers: int = 2) -> list[str]:
        path = reverse("async_downloads:ajax_update")
        answers = [self._ada.client.get(path) for _ in range(POLLS)]
        expect(
            all(answer.status == HTTPStatus.OK for answer in answers),
            f"they say {[answer.status for answer in answers]}",
        )
        # One that did not answer stands before the one that did.
        served = {answer.headers["X-Served-By"].rpartition(", ")[2] for answer in answers}
        expect(len(served) == servers, f"{served} answered")
        return [f"{POLLS} polls, by {' and '.join(sorted(served))}"]

    @contextmanager
    def _socket(self) -> Iterator[ClientConnection]:
        """Connect as the page does, through nginx."""
        origin = self._machines.address.rstrip("/")
        cookies = "; ".join(f"{each.name}={each.value}" for each in self._ada.client.jar)
        url = origin.replace("http", "ws", 1) + "/ws/downloads/"
        headers = {"Cookie": cookies}
        try:
            with connect(url, origin=origin, additional_headers=headers, proxy=None) as socket:
                self._log.tell("Her page's socket is open, through nginx")
                yield socket
        except WebSocketException as error:
            raise CheckError(f"the socket: {error}") from error

    def _kill_while_it_builds(self) -> tuple[str, str]:
        """Start an export, and kill the cluster that builds it.

        Returns:
            The export's key, and the cluster's name.
        """
        for _ in range(TRIES):
            before = self._deliveries()
            with self._log.step("She starts an export on the WSGI server"):
                key = self._at_wsgi.start("orders")
            with self._log.step("The ASGI server shows how it grows") as found:
                entry = self._wait_for(key, lambda entry: entry["percentage"] > 0, every=0.1)
                found.append(f"{entry['percentage']} %")
            builder = self._builder(before)
            with self._log.step(f"The {builder}, which builds it, is killed, all of it") as found:
                self._machines.kill(builder)
                entry = self._at_asgi.download(key)
                found.append(f"{entry['state']}, {entry['percentage']} %")
            if entry["state"] == "running":
                return key, builder
            # It was quicker than whoever was to kill it.
            self._at_asgi.clear(key)
            self._machines.start_cluster(builder)
        raise CheckError(f"{TRIES} exports were too quick to be caught; DEMO_ORDERS makes more")

    def _is_taken_over(self, key: str, survivor: str) -> None:
        patience = settings.Q_CLUSTER["retry"] + PATIENCE
        with self._log.step(f"The queue gives it to the {survivor}, which builds it") as found:
            self._wait_for(key, lambda entry: entry["complete"], patience)
            attempts = Download.objects.get(pk=key).attempts
            expect(attempts == 2, f"it took {attempts} attempts")
            expect(self._machines.deliveries(survivor) > 0, "the other cluster did not build it")
            found.append(f"{attempts} attempts")

    def _is_asked_for_again(self, key: str, survivor: str) -> str:
        patience = settings.ASYNC_DOWNLOADS_STALLED_AFTER + PATIENCE
        with self._log.step(f"Redis has forgotten the task, and the list says “{STALLED}”"):
            path = reverse("async_downloads:ajax_update")
            page = self._at_asgi.client
            self._until(
                lambda: STALLED in page.get(path).json["html"], "it does not say so", patience
            )
        with self._log.step("She clears it, and starts it anew on the WSGI server"):
            self._at_wsgi.clear(key)
            key = self._at_wsgi.start("orders")
        with self._log.step(f"The {survivor} builds it"):
            self._wait_for(key, lambda entry: entry["complete"])
        return key

    def _is_pushed(self, socket: ClientConnection, key: str) -> None:
        link = self._at_asgi.download(key)["url"]
        pushes = 0
        with self._log.step("The socket has brought it all to the page, file and all") as found:
            text = ""
            while link not in text:
                try:
                    text = str(socket.recv(timeout=PATIENCE))
                except TimeoutError:
                    raise CheckError("the link to the file was never pushed") from None
                pushes += 1
            found.append(f"{pushes} pushes")

    def _fetch(self, key: str) -> bytes:
        with self._log.step("The file comes from S3, by a link that is signed for her") as found:
            answer = self._ada.client.get(self._ada.download(key)["url"])
            expect(answer.status == HTTPStatus.FOUND, f"nginx answers {answer.status}")
            link = answer.headers["Location"] or ""
            expect("X-Amz-Signature=" in link, f"the link is not signed: {link}")
            # No cookie of hers goes to S3.
            with build_opener(ProxyHandler({})).open(link, timeout=PATIENCE) as response:
                file: bytes = response.read()
            size = Download.objects.get(pk=key).size
            expect(len(file) == size, f"it has {len(file)} bytes, not {size}")
            lines = file.splitlines()
            expect(lines[0].decode() == ",".join(HEADER), "the header is another")
            expect(len(lines) - 1 == Order.objects.count(), f"it has {len(lines) - 1:,} rows")
            found.append(f"{len(lines) - 1:,} rows")
            found.append(f"{len(file) / 1e6:.1f} MB")
        return file

    def _keep_out(self, key: str) -> None:
        url = self._ada.download(key)["url"]
        with self._log.step("grace is told of no such file, by either server"):
            grace = Person(self._machines.address, "grace")
            grace.sign_in()
            for address in (self._machines.wsgi, self._machines.asgi):
                status = grace.at(address).client.get(url).status
                expect(status == HTTPStatus.NOT_FOUND, f"{address} answers {status}")

    def _deploy(self, killed: str, file: bytes) -> None:
        """Start the killed cluster again, and stop the one that is at work, as a deploy does."""
        with self._log.step(f"The {killed} is started again, and an export on the ASGI server"):
            self._machines.start_cluster(killed)
            before = self._deliveries()
            key = self._at_asgi.start("orders")
            self._wait_for(key, lambda entry: entry["state"] == "running", every=0.1)
        builder = self._builder(before)
        with self._log.step(f"Asked to stop, the {builder} finishes it first") as found:
            code = self._machines.retire(builder, PATIENCE)
            expect(code == 0, f"it ended with the exit code {code}")
            download = Download.objects.get(pk=key)
            expect(download.complete, f"it is {download.state}")
            found.append(f"{download.attempts} attempt")
        again = self._fetch(key)
        expect(again == file, "the two files are not the same")
        self._log.tell("Both files are the same to the byte")

    def _builder(self, before: dict[str, int]) -> str:
        """Return which cluster has taken up an export since."""
        after = self._deliveries()
        builders = [name for name in CLUSTERS if after[name] > before[name]]
        expect(len(builders) == 1, f"it was taken up by {builders or 'neither cluster'}")
        return builders[0]

    def _deliveries(self) -> dict[str, int]:
        return {name: self._machines.deliveries(name) for name in CLUSTERS}

    def _wait_for(
        self,
        key: str,
        condition: Callable[[Entry], bool],
        patience: float = PATIENCE,
        every: float = POLL_SECONDS,
    ) -> Entry:
        """Poll the ASGI server until a download is as it should be."""
        entry: Entry = {}

        def met() -> bool:
            entry.update(self._at_asgi.download(key))
            expect(entry["state"] != "failed", f"it failed: {entry['errors']}")
            return condition(entry)

        self._until(met, "it does not get on", patience, every)
        return entry

    def _until(
        self,
        condition: Callable[[], bool],
        problem: str,
        patience: float,
        every: float = POLL_SECONDS,
    ) -> None:
        deadline = time.monotonic() + patience
        while not condition():
            expect(time.monotonic() < deadline, f"{problem} (within {patience:.0f} s)")
            self._machines.wait(every)
