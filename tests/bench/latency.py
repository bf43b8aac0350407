"""The time from ``set_percentage`` in a worker until a page shows it.

A real browser shows a page of a real ASGI server, by polls and by websocket, while a
separate process reports progress. Needs Chromium, and Redis for the websocket.
"""

import statistics
from typing import Final

from playwright.sync_api import Page, sync_playwright

from tests import services
from tests.faults.harness import Server, Site, eventually

__all__ = ["run"]

STEPS: Final = 30

#: Reports progress and prints the time; the pauses are random, unlike the polling interval.
WORKER: Final = f"""
import random, time
from async_downloads import cache
random.seed(1)
for step in range(1, {STEPS} + 1):
    time.sleep(0.6 + random.random())
    print(step, time.time(), flush=True)
    cache.set_percentage({{key!r}}, step)
"""

#: Records when the page shows each percentage.
OBSERVE: Final = """
window.seen = {};
new MutationObserver(() => {
  const bar = document.querySelector("#downloads-dropdown progress");
  if (bar) window.seen[bar.value] ??= Date.now() / 1000;
}).observe(document.querySelector("#downloads-dropdown"), {childList: true, subtree: true});
"""

REDIS_LAYER: Final = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {"hosts": [services.redis_url()]},
    }
}


def run() -> None:
    """Print the latencies of both transports, or which part is missing."""
    if not services.chromium():
        print("Latency: skipped, no Chromium is installed.")
        return
    print(f"\nFrom set_percentage in a worker to the changed page, {STEPS} steps:")
    print(f"{'':<12}{'median':>10}{'least':>10}{'most':>10}{'steps seen':>14}")
    report("polled", measure(pushed=False))
    if services.available("redis"):
        report("by socket", measure(pushed=True))
    else:
        print("by socket: skipped, no Redis answers.")


def report(name: str, latencies: list[float]) -> None:
    """Print a line of the table."""
    figures = (statistics.median(latencies), min(latencies), max(latencies))
    print(f"{name:<12}{''.join(f'{figure:>8.2f} s' for figure in figures)}{len(latencies):>14}")


def measure(*, pushed: bool) -> list[float]:
    """Return the seconds until the page showed each step, without steps that it skipped."""
    settings = {"ROOT_URLCONF": "tests.bench.urls"}
    layer = {"ASYNC_DOWNLOADS_WS_MODE": True, "CHANNEL_LAYERS": REDIS_LAYER} if pushed else {}
    cache = "redis" if services.available("redis") else "file"
    with Site("sqlite", cache=cache, **settings, **layer) as site, site.server(asgi=True) as server:
        key = site.init()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=services.chromium(), args=services.CHROMIUM_ARGUMENTS
            )
            page = browser.new_page()
            open_page(page, server)
            with site.start(WORKER.format(key=key)) as worker:
                while worker.alive:
                    page.wait_for_timeout(200)
            page.wait_for_timeout(2000)
            seen = {int(step): at for step, at in page.evaluate("window.seen").items()}
            browser.close()
        sent = dict(line.split() for line in worker.log.splitlines() if line[:1].isdigit())
        return [seen[int(step)] - float(at) for step, at in sent.items() if int(step) in seen]


def open_page(page: Page, server: Server) -> None:
    """Sign in, open the page and its menu, and wait for the list."""
    eventually(lambda: server.address, why="a server that listens")
    page.goto(f"{server.address}/sign-in/ada/")
    page.goto(f"{server.address}/")
    page.locator(".async-downloads-button").click()
    page.locator("#downloads-dropdown .download-container").wait_for()
    page.evaluate(OBSERVE)
