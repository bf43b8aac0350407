"""Poll a server for many people at once: a process of its own.

``python -m tests.bench.polling_people PORT FILE PAUSE WARM_UP SECONDS`` reads people from a file,
who pause between a response and the next poll. It prints a line once the polls have begun, and a
line of JSON with what was answered since.
"""

import asyncio
import json
import random
import re
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

#: What a page shows since a response with markup; the next poll says so.
SHOWN: Final = re.compile(r'data-(version|since)="([^"]+)"')


@dataclass
class Polls:
    """What was answered.

    Attributes:
        port: The port of the server.
        pause: Seconds between a response and the next poll.
        answered: Set once the server has answered: it may take long to start.
        measured: Whether responses count.
        seconds: The seconds of each response.
        statuses: How many responses had which status.
    """

    port: int
    pause: float
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    measured: bool = False
    seconds: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)

    async def follow(self, cookies: str, url: str) -> None:
        """Poll for one person, on one connection as long as the server keeps it."""
        # Pages have not been loaded at the same moment.
        await asyncio.sleep(random.random() * self.pause)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        while True:
            began = time.monotonic()
            request = f"GET {url} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookies}\r\n"
            try:
                writer.write(f"{request}HX-Request: true\r\n\r\n".encode())
                status, body = await read(reader)
            except (ConnectionError, asyncio.IncompleteReadError):
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                continue
            self.answered.set()
            if self.measured:
                self.seconds.append(time.monotonic() - began)
                self.statuses[status] += 1
            for name, value in SHOWN.findall(body):
                url = re.sub(rf"(?<={name}=)[^&]*", quote(value), url)
            await asyncio.sleep(self.pause)


async def read(reader: asyncio.StreamReader) -> tuple[str, str]:
    """Return the status and the body of a response."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = re.search(r"content-length: (\d+)", head)
    body = await reader.readexactly(int(length[1]) if length else 0)
    return head.split(" ", 2)[1], body.decode()


async def main(
    port: int, people: list[dict[str, str]], pause: float, warm_up: float, seconds: float
) -> None:
    """Poll, and report."""
    polls = Polls(port, pause)
    tasks = [
        asyncio.create_task(polls.follow(person["cookies"], person["url"])) for person in people
    ]
    first = asyncio.create_task(polls.answered.wait())
    done, _ = await asyncio.wait([first, *tasks], return_when=asyncio.FIRST_COMPLETED)
    done |= (await asyncio.wait(tasks, timeout=warm_up))[0]
    polls.measured = True
    began = time.monotonic()
    print("polling", flush=True)
    failed, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    took = time.monotonic() - began
    for task in done | failed:
        task.result()
    # A slow server may need longer for its next answer.
    while not polls.seconds:
        await asyncio.sleep(0.1)
        took = time.monotonic() - began
    report = {
        "seconds": took,
        "median": statistics.median(polls.seconds),
        "statuses": polls.statuses,
    }
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[2]).read_text())
    asyncio.run(main(int(sys.argv[1]), given, *map(float, sys.argv[3:])))
