"""The architecture page has modules that exist, the layers of the contract, and real flows."""

import ast
import re
import tomllib
from typing import Any

import pytest
from django.core.cache import caches
from django.test import Client
from django.urls import reverse

from async_downloads import cache, store
from async_downloads.models import Download
from async_downloads.shortcuts import start_download
from tests import recorded_calls
from tests.attempts import claimed, stall_all
from tests.docs.flows import Flow, traced
from tests.docs.helpers import ROOT, rows_of
from tests.factories import DownloadFactory, OrderFactory
from tests.shop.models import Order
from tests.snippets import PAGES

pytestmark = pytest.mark.any_database

PAGE = "docs/explanation/architecture.md"

TEXT = PAGES[PAGE].text

PACKAGE = ROOT / "async_downloads"

#: The heading of each flow; its drawing and its number are below.
START = "From `start_download` to the queue"
SAVE = "From `save_download` to the file"
RESCUE = "From a stalled download to the queue"
UNCHANGED = "From a poll to 204"
CHANGED = "From a poll to the list"

COVERED = {
    "shortcuts  ": "test_a_start_crosses_the_modules_of_the_drawing",
    "building.content": "test_a_save_crosses_the_modules_of_the_drawing",
    "store.rescue  ": "test_a_rescue_crosses_the_modules_of_the_drawing",
    "views  ": "test_a_poll_crosses_the_modules_of_the_drawing",
}


def contracts(kind: str) -> list[dict[str, Any]]:
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    return [contract for contract in tool["contracts"] if contract["type"] == kind]


def defined_in(path: str) -> set[str]:
    """Return the names that a module defines at its top and in its classes."""
    names = set()
    for node in ast.walk(ast.parse((PACKAGE / path).read_text())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def test_each_named_module_exists() -> None:
    named = set(re.findall(r"`([\w/]+(?:\.py|\.html|\.js|/))`", TEXT))
    assert len(named) > 15
    elsewhere = {path for path in named if path.startswith(("tests/", "async_downloads/"))}
    assert {path for path in elsewhere if not (ROOT / path).exists()} == set()
    assert {path for path in named - elsewhere if not (PACKAGE / path).exists()} == set()


def test_each_name_is_defined_where_the_table_says() -> None:
    rows = rows_of(TEXT, "| where is … | look into | for |")
    assert len(rows) >= 10
    for _, places, names in rows:
        paths = re.findall(r"`([\w/]+\.py)`", places)
        defined = set().union(*map(defined_in, paths))
        assert set(re.findall(r"`(\w+)`", names)) <= defined, places


def test_the_layers_are_those_of_the_contract() -> None:
    (contract,) = contracts("layers")
    documented = [
        re.findall(r"`(\w+)`", row[0]) for row in rows_of(TEXT, "| layer | what it does |")
    ]
    assert documented == [layer.split(" | ") for layer in contract["layers"]]


def test_the_importers_of_optional_packages_are_those_of_the_contracts() -> None:
    documented = {
        package.strip("`"): set(re.findall(r"`([\w.]+)`", modules))
        for package, modules in rows_of(TEXT, "| package | only imported by |")
    }
    allowed = {}
    for contract in contracts("forbidden"):
        (package,) = contract["forbidden_modules"]
        importers = {line.partition(" -> ")[0] for line in contract["ignore_imports"]}
        allowed[package] = {
            name.removeprefix("async_downloads.").removesuffix(".**") for name in importers
        }
    assert documented == allowed


def assert_drawn(heading: str, flow: Flow) -> None:
    """Compare a drawing, without the words beside the modules, and the number below the heading."""
    (block,) = PAGES[PAGE].in_chapter(heading)
    drawn = "\n".join(re.sub(r"(?<=\S)  +.*", "", line) for line in block.body.splitlines())
    assert drawn == flow.drawing(), f"The drawing has to be:\n{flow.drawing()}"
    number = re.search(r"(\d+) modules", block.above)
    assert number, block.above
    assert int(number[1]) == len(flow.modules)


@pytest.fixture(autouse=True)
def _shared_cache(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that processes share, whose version tokens outlive a busy machine's pauses."""
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "file"
    monkeypatch.setattr("async_downloads.store.cache_entries.VERSION_SECONDS", 60 * 60)
    caches["file"].clear()


@pytest.mark.django_db(transaction=True)
def test_a_start_crosses_the_modules_of_the_drawing(user: Any) -> None:
    assert_drawn(START, traced(lambda: start_download(recorded_calls.export, user, "orders.csv")))


@pytest.mark.django_db(transaction=True)
def test_a_rescue_crosses_the_modules_of_the_drawing(user: Any) -> None:
    _, key = start_download(recorded_calls.export, user, "orders.csv")

    def stall() -> None:
        claimed(Download.objects.get(pk=key))
        stall_all()

    assert_drawn(RESCUE, traced(store.rescue_alone, prepare=stall))
    assert Download.objects.get().state == "pending"


@pytest.mark.django_db(transaction=True)
def test_a_save_crosses_the_modules_of_the_drawing(user: Any) -> None:
    OrderFactory()
    keys = [cache.init_download(user, "orders.csv")[1] for _ in range(2)]
    orders = Order.objects.values_list("reference", "total")
    header = ["Reference", "Total"]
    flow = traced(lambda: cache.save_download(keys.pop(), orders.all(), header=header))
    assert_drawn(SAVE, flow)


@pytest.mark.django_db(transaction=True)
def test_a_poll_crosses_the_modules_of_the_drawing(user: Any, signed_in: Client) -> None:
    DownloadFactory(collection__user=user, running=True)
    url, headers = reverse("async_downloads:ajax_update"), {"HX-Request": "true"}
    statuses = []

    def poll(version: str) -> str:
        response = signed_in.get(url, {"version": version}, headers=headers)
        statuses.append(response.status_code)
        return response.content.decode()

    match = re.search(r'fragment" data-version="([\w.]+)"', poll("0.0"))
    assert match
    assert_drawn(UNCHANGED, traced(lambda: poll(match[1])))
    assert_drawn(CHANGED, traced(lambda: poll("0.0")))
    assert statuses == [200, 204, 204, 200, 200]
