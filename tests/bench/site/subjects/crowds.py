"""Many users at once, on a real server in a child process."""

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

#: The polls of each user.
POLLS = 5


def crowd_of(people: list[tuple[Any, dict[str, str]]]) -> Callable[[], int]:
    """Return a function in which all users poll at once.

    Args:
        people: Users, and the query of their polls.
    """
    server = subprocess.Popen(
        [sys.executable, "serve.py"], stdout=subprocess.PIPE, text=True, bufsize=1
    )
    atexit.register(server.kill)
    assert server.stdout is not None
    port = int(server.stdout.readline())
    url = reverse("async_downloads:ajax_update")
    requests = [(f"{url}?{urlencode(data)}", _cookie(user)) for user, data in people]

    def poll(request: tuple[str, str]) -> int:
        path, cookie = request
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        for _ in range(POLLS):
            connection.request("GET", path, headers={"Cookie": cookie, "HX-Request": "true"})
            response = connection.getresponse()
            response.read()
            assert response.status in (200, 204), response.status
        connection.close()
        return POLLS

    poll(requests[0])

    def body() -> int:
        with ThreadPoolExecutor(len(requests)) as threads:
            return sum(threads.map(poll, requests))

    return body


def _cookie(user: Any) -> str:
    client = Client()
    client.force_login(user)
    name = settings.SESSION_COOKIE_NAME
    return f"{name}={client.cookies[name].value}"
