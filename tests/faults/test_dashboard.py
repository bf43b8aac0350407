"""A real Prometheus scrapes the demo, and each query of the dashboard returns numbers."""

import json
import math
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from demo.http_client import Client
from tests.demo.running import Demo, running_demo
from tests.docs.helpers import rows_of
from tests.faults.conftest import needs
from tests.faults.processes import ROOT, Child, eventually, free_port
from tests.snippets import PAGES

DASHBOARD: Final = json.loads((ROOT / "docs/grafana/async-downloads.json").read_text())

MONITORING: Final = PAGES["docs/how-to/monitoring.md"].text

#: The queries of the dashboard by their panels.
QUERIES: Final = [
    (panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel["targets"]
]

#: A person starts exports, one of which fails, and fetches the file of the other. Then an attempt
#: stalls and is rescued.
WORK: Final = """
import io, sys, time, uuid
import django
django.setup()
from datetime import timedelta
from django.core.management import call_command
from django.utils import timezone
from async_downloads import store
from async_downloads.models import Download
from demo.checks.person import Person

ada = Person(sys.argv[1], "ada")
ada.sign_in()

def ended(key):
    while (entry := ada.download(key))["state"] in {"pending", "running"}:
        time.sleep(0.2)
    return entry

complete, failed = [ada.start(slug) for slug in ("orders-plain", "stock-audit")]
ada.client.get(ended(complete)["url"])
assert ended(failed)["state"] == "failed"
# The attempt that has failed may be about to release its claim.
Download.objects.filter(pk=failed).update(
    state="running", claim=uuid.uuid4(), heard_at=timezone.now() - timedelta(hours=1)
)
store.cache_entries.delete_entry(failed)
call_command("rescue_downloads", stdout=io.StringIO())
assert ended(failed)["complete"]
for key in (complete, failed):
    ada.clear(key)
"""


def work(demo: Demo) -> None:
    """Let a person use exports, and an attempt stall."""
    demo.execute(WORK, demo.address, PROMETHEUS_MULTIPROC_DIR=str(demo.folder / "metrics"))


class Prometheus:
    """A Prometheus that scrapes the demo each second."""

    def __init__(self, folder: Path, target: str) -> None:
        self._address = f"127.0.0.1:{free_port()}"
        job = {
            "job_name": "demo",
            "metrics_path": "/metrics/",
            "static_configs": [{"targets": [urllib.parse.urlsplit(target).netloc]}],
        }
        # JSON is YAML.
        configuration = {"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}
        (folder / "prometheus.yml").write_text(json.dumps(configuration))
        self.process = Child(
            [
                *("prometheus", "--config.file", str(folder / "prometheus.yml")),
                *("--storage.tsdb.path", str(folder / "data")),
                *("--web.listen-address", self._address),
            ],
            env=dict(os.environ),
            log=folder / "prometheus.log",
        )

    def ask(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer of the HTTP API; None while it does not answer."""
        assert self.process.alive, self.process.log
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"http://{self._address}/api/v1/{path}?{query}") as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            if error.code == 503:  # it is starting
                return None
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error
        except OSError:
            return None

    def numbers(self, expression: str) -> list[float]:
        """Return the numbers that an expression has now, without those that are none."""
        data = self.ask("query", query=expression)
        values = [float(series["value"][1]) for series in data["result"]] if data else []
        return [value for value in values if not math.isnan(value)]

    def close(self) -> None:
        """Stop it."""
        self.process.terminate()
        self.process.wait()
        self.process.close()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that has seen the demo at work twice, so that its counters have grown."""
    needs("proc", "prometheus")
    with running_demo(tmp_path_factory.mktemp("demo")) as demo:
        work(demo)
        prometheus = Prometheus(tmp_path_factory.mktemp("prometheus"), demo.address)
        try:
            counted = "sum(async_downloads_requeued_total)"
            (before,) = eventually(lambda: prometheus.numbers(counted), why="a first scrape")
            work(demo)
            eventually(
                lambda: prometheus.numbers(counted) > [before], why="a scrape of the second time"
            )
            yield prometheus
        finally:
            prometheus.close()


def filled(expression: str) -> str:
    """Return an expression with the variables of the dashboard filled in, as Grafana does."""
    return expression.replace("$task", ".*").replace("$window", "5m")


@pytest.mark.parametrize(("panel", "query"), QUERIES, ids=[query for _, query in QUERIES])
def test_each_query_of_the_dashboard_returns_numbers(
    prometheus: Prometheus, panel: str, query: str
) -> None:
    numbers = eventually(lambda: prometheus.numbers(filled(query)), why=f"numbers for {panel}")
    assert all(math.isfinite(number) and number >= 0 for number in numbers)
    counters = ("rate(", "increase(")
    # No export of the demo is cancelled here.
    if any(each in query for each in counters) and "cancelled" not in query:
        assert max(numbers) > 0


def test_the_tasks_to_choose_from_are_those_of_the_demo(prometheus: Prometheus) -> None:
    (variable,) = [each for each in DASHBOARD["templating"]["list"] if each["name"] == "task"]
    metric, label = re.findall(r"label_values\((\w+), (\w+)\)", variable["definition"])[0]
    assert set(prometheus.ask(f"label/{label}/values", **{"match[]": metric})) == {
        "demo.shop.tasks.all_orders_plain",
        "demo.shop.tasks.stock_audit",
    }


def test_prometheus_understands_each_alert(prometheus: Prometheus) -> None:
    alerts = [
        expression.partition("`")[2].partition("`")[0]
        for expression, _ in rows_of(MONITORING, "| expression | meaning |")
    ]
    assert len(alerts) >= 4
    for alert in alerts:
        # A wrong expression fails; one that is right returns nothing while all is well.
        assert prometheus.ask("query", query=alert) is not None
    assert prometheus.numbers("sum(increase(async_downloads_stalled_total[5m])) > 0")


def test_the_folder_is_emptied_when_the_demo_starts(tmp_path: Path) -> None:
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics/counter_1.db").write_bytes(b"of another day")
    with running_demo(tmp_path) as demo:
        text = Client(demo.address).get("/metrics/").text
    assert 'async_downloads_unfinished{state="waiting"} 0.0' in text
    assert not (tmp_path / "metrics/counter_1.db").exists()
