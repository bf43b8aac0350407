"""Requests that a browser repeats, answered in this process as by a WSGI server."""

import io
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from http import HTTPStatus
from typing import Any, NamedTuple
from unittest.mock import patch
from urllib.parse import urlsplit

from django.core.cache import caches
from django.core.wsgi import get_wsgi_application
from django.db import connection
from django.test.utils import CaptureQueriesContext

from subjects.people import session_cookie

#: The requests of one measurement.
CALLS = 20

application = get_wsgi_application()


class Answer(NamedTuple):
    """What a server sends back."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Times(NamedTuple):
    """The seconds of a response, and those in which this process was not waiting."""

    seconds: float
    core: float


class Browser:
    """A browser in which a user is signed in.

    Attributes:
        cookies: The header with its cookies.
    """

    def __init__(self, user: Any, **headers: str) -> None:
        """Sign in.

        Args:
            user: The user.
            headers: Headers of each request, by their names in a WSGI environment.
        """
        self.cookies = session_cookie(user)
        self._headers = headers
        self.get("/page/")

    def environment(self, url: str) -> dict[str, Any]:
        """Return the WSGI environment of a request for a URL."""
        path, query = urlsplit(url).path, urlsplit(url).query
        return {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_COOKIE": self.cookies,
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": io.StringIO(),
            **self._headers,
        }

    def get(self, url: str) -> str:
        """Return the body of the response to a request for a URL."""
        answered = answer(self.environment(url))
        self.keep_csrf_cookie(answered)
        return answered.body.decode()

    def keep_csrf_cookie(self, answered: Answer) -> None:
        """Keep the CSRF cookie of a response, so that no later one has to set it."""
        for name, value in answered.headers:
            cookie = value.partition(";")[0].strip()
            if name == "Set-Cookie" and cookie.startswith("csrftoken="):
                self.cookies = f"{self.cookies.partition('; csrftoken=')[0]}; {cookie}"


class Exchange:
    """A request that a browser repeats."""

    def __init__(
        self,
        browser: Browser,
        url: str,
        *,
        change: Callable[[], object] | None = None,
        next_url: Callable[[str, str], str] | None = None,
    ) -> None:
        """Store what is repeated.

        Args:
            browser: The browser.
            url: The URL of the first request.
            change: What happens before each request.
            next_url: Takes a URL and the body of its response, and returns the next URL.
        """
        self._browser = browser
        self._url = url
        self._change = change
        self._next_url = next_url

    def measure(self) -> dict[str, float]:
        """Return the median of the seconds of some requests, and what one more costs.

        Returns:
            ``seconds``, those of a ``core``, ``status``, ``bytes``, and the numbers of
            ``queries`` and of ``reads`` of the cache.
        """
        # What other requests have pushed out of a cache or let expire is not measured.
        self._repeat(answer)
        times: list[Times] = []
        for _ in range(CALLS):
            self._repeat(lambda environment: timed(environment, times))
        counted: dict[str, int] = {}
        status, _, body = self._repeat(lambda environment: count(environment, counted))
        return {
            "seconds": statistics.median(each.seconds for each in times),
            "core": statistics.median(each.core for each in times),
            "status": status,
            "bytes": len(body),
            **counted,
        }

    def _repeat(self, send: Callable[[dict[str, Any]], Answer]) -> Answer:
        if self._change is not None:
            self._change()
        answered = send(self._browser.environment(self._url))
        self._browser.keep_csrf_cookie(answered)
        if self._next_url is not None and answered.status == HTTPStatus.OK:
            self._url = self._next_url(self._url, answered.body.decode())
        return answered


def answer(environment: dict[str, Any]) -> Answer:
    """Answer a request, as a WSGI server does."""
    started: list[tuple[str, list[tuple[str, str]]]] = []
    response = application(environment, lambda *args: started.append(args[:2]))
    body = b"".join(response)
    response.close()
    ((status, headers),) = started
    return Answer(int(status[:3]), headers, body)


def timed(environment: dict[str, Any], times: list[Times]) -> Answer:
    """Answer a request, and append the time that it takes."""
    began, core = time.perf_counter(), time.thread_time()
    answered = answer(environment)
    times.append(Times(time.perf_counter() - began, time.thread_time() - core))
    return answered


def count(environment: dict[str, Any], counted: dict[str, int]) -> Answer:
    """Answer a request, and count its queries and its reads of the cache."""
    with CaptureQueriesContext(connection) as queries, reads_of_the_cache() as reads:
        answered = answer(environment)
    counted.update(queries=len(queries), reads=len(reads))
    return answered


@contextmanager
def reads_of_the_cache() -> Iterator[list[str]]:
    """Collect the names of the cache's methods that are called to read."""
    backend = type(caches["default"])
    reads: list[str] = []
    depth = 0

    def counting(name: str) -> Callable[..., Any]:
        method = getattr(backend, name)

        @wraps(method)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            nonlocal depth
            if not depth:
                reads.append(name)
            # The base class reads many by reading each.
            depth += 1
            try:
                return method(*args, **kwargs)
            finally:
                depth -= 1

        return wrapper

    with patch.multiple(backend, **{name: counting(name) for name in ("get", "get_many")}):
        yield reads
