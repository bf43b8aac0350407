"""Open many websockets at once, and note what arrives: a process of its own.

It reads the address and the cookies as JSON from a file. It prints a line of JSON once each
socket has its first list or is refused, another one for each line on its standard input, and
the last one once all sockets are closed.
"""

import asyncio
import json
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

#: The progress of what is being built, in a pushed summary.
PERCENTAGE = re.compile(r'data-percentage="(\d+)"')


@dataclass
class Crowd:
    """The sockets, and what happened to them.

    Attributes:
        url: Where the sockets open.
        deflate: Whether the sockets offer compression, as browsers do.
        listed: The seconds until each socket had its first list.
        refused: How many could not connect, by reason.
        seen: When each user's socket showed a percentage first, by user and percentage.
        closed: How many were closed, by code.
    """

    url: str
    deflate: bool
    listed: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    seen: dict[str, float] = field(default_factory=dict)
    closed: Counter[str] = field(default_factory=Counter)

    async def follow(self, user: int, cookie: str) -> None:
        """Open a socket, and note its messages until it is closed."""
        began = time.monotonic()
        options: dict[str, Any] = {"compression": "deflate" if self.deflate else None}
        try:
            socket = await connect(
                self.url,
                additional_headers={"Cookie": cookie},
                open_timeout=120,
                ping_interval=None,
                **options,
            )
        except (OSError, TimeoutError, InvalidHandshake) as error:
            self.refused[type(error).__name__] += 1
            return
        first = True
        try:
            async for message in socket:
                if first:
                    self.listed.append(time.monotonic() - began)
                first = False
                for percentage in PERCENTAGE.findall(str(message)):
                    self.seen.setdefault(f"{user} {percentage}", time.time())
        except ConnectionClosed:
            pass
        self.closed[str(socket.close_code)] += 1

    async def run(self, cookies: list[str]) -> None:
        """Open a socket for each cookie, and report."""
        tasks = [
            asyncio.create_task(self.follow(user, cookie)) for user, cookie in enumerate(cookies)
        ]
        deadline = time.monotonic() + 120
        while len(self.listed) + self.refused.total() < len(cookies):
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(0.05)
        listed = {"listed": len(self.listed), "seconds": max(self.listed, default=0)}
        say(**listed, refused=self.refused)
        loop = asyncio.get_running_loop()
        asking = asyncio.create_task(self.answer(loop))
        await asyncio.wait(tasks, timeout=None)
        asking.cancel()
        say(closed=self.closed)

    async def answer(self, loop: asyncio.AbstractEventLoop) -> None:
        """Print what was seen, for each line of the standard input."""
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while await reader.readline():
            say(seen=self.seen, closed=self.closed)


def say(**values: Any) -> None:
    """Print a line of JSON."""
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[1]).read_text())
    crowd = Crowd(given["url"], given["deflate"])
    asyncio.run(crowd.run(given["cookies"]))
