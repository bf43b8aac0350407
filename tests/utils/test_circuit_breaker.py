"""The circuit breaker."""

import logging

import pytest

from async_downloads.utils import circuit_breaker
from async_downloads.utils.circuit_breaker import CircuitBreaker


class Clock:
    """A clock that a test turns by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(circuit_breaker, "time", clock)
    return clock


class Server:
    """A server that fails, and takes its time."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.clock, self.seconds, self.calls, self.works = clock, seconds, 0, False

    def __call__(self) -> str:
        """Answer, or fail after a while."""
        self.calls += 1
        if self.works:
            return "an answer"
        self.clock.now += self.seconds
        raise ConnectionError("no route")


@pytest.mark.parametrize(("took", "pause"), [(0, 5), (1, 15), (5, 55), (100, 60)])
def test_a_slow_failure_pauses_the_calls_for_longer(
    took: float, pause: float, clock: Clock
) -> None:
    breaker, server = CircuitBreaker("It"), Server(clock, took)
    assert breaker.call(server, "default") == "default"
    clock.now += pause - 0.1
    assert breaker.call(server, "default") == "default"
    assert server.calls == 1
    clock.now += 0.2
    server.works = True
    assert breaker.call(server, "default") == "an answer"
    assert breaker.call(server, "default") == "an answer"


def test_a_series_of_failures_is_logged_once(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    breaker, server = CircuitBreaker("It"), Server(clock, 0)
    for _ in range(3):
        breaker.call(server, None)
        clock.now += 6
    assert server.calls == 3
    assert len(caplog.records) == 1
