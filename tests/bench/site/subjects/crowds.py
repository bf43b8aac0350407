"""Many people at once, through a real server in a process of its own."""

import atexit
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.test import Client
from django.urls import reverse

#: Polls of each person.
POLLS = 5


def crowd_of(people: list[tuple[Any, dict[str, str]]]) -> Callable[[], int]:
    """Return what lets all of them poll at once.

    Args:
        people: Users, and what their pages ask with.
    """
    server = subprocess.Popen(
        [sys.executable, "serve.py"], stdout=subprocess.PIPE, text=True, bufsize=1
    )
    atexit.register(server.kill)
    assert server.stdout is not None
    port = int(server.stdout.readline())
    url = reverse("async_downloads:ajax_update")
    asked = [(f"{url}?{urlencode(data)}", _cookie(user)) for user, data in people]

    def poll(person: tuple[str, str]) -> int:
        path, cookie = person
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        for _ in range(POLLS):
            connection.request("GET", path, headers={"Cookie": cookie, "HX-Request": "true"})
            response = connection.getresponse()
            response.read()
            assert response.status in (200, 204), response.status
        connection.close()
        return POLLS

    poll(asked[0])

    def body() -> int:
        with ThreadPoolExecutor(len(asked)) as threads:
            return sum(threads.map(poll, asked))

    return body


def _cookie(user: Any) -> str:
    client = Client()
    client.force_login(user)
    name = settings.SESSION_COOKIE_NAME
    return f"{name}={client.cookies[name].value}"
