"""Fixtures that stand for the site of the reader."""

import re
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from tests.docs.helpers import executed
from tests.shop import models
from tests.snippets import PAGES, Page, file_after


@pytest.fixture
def page(request: pytest.FixtureRequest) -> Page:
    """The page that the module is about: its `PAGE`."""
    return PAGES[request.module.PAGE]


@pytest.fixture
def as_documented(tmp_path: Path, page: Page) -> Callable[..., dict[str, Any]]:
    """Makes the settings of a reader who has followed the page.

    They are those of a new site, of the site that the page continues, and of the
    page's blocks for `mysite/settings.py` that contain one of the given texts (of
    all of them if none is given).
    """

    def settings(*containing: str) -> dict[str, Any]:
        folder = tmp_path / "site"
        folder.mkdir()
        call_command("startproject", "mysite", str(folder))
        path = folder / "mysite/settings.py"
        names = executed(path.read_text(), __file__=str(path))
        chosen = [
            block
            for block in page.blocks
            if not containing or any(text in block.body for text in containing)
        ]
        for block in dict.fromkeys([*page.continues, *chosen]):
            if block.file == "mysite/settings.py":
                names = executed(block.body, **names)
        return {name: value for name, value in names.items() if name.isupper()}

    return settings


@pytest.fixture
def quick_start(
    monkeypatch: pytest.MonkeyPatch, page: Page
) -> Callable[[str, str], types.ModuleType]:
    """Makes modules of the site that the page continues; its models are those of the tests."""

    def install(name: str, body: str = "") -> types.ModuleType:
        module = types.ModuleType(name)
        monkeypatch.setitem(sys.modules, name, module)
        exec(compile(body, f"{page.path}: {name}", "exec"), module.__dict__)  # noqa: S102 (our own text)
        return module

    for package in ("orders", "mysite"):
        install(package)
    site = page.continues or page.blocks
    orders_models = install("orders.models")
    source = file_after("orders/models.py", site)
    for name in re.findall(r"^class (\w+)", source, re.MULTILINE):
        setattr(orders_models, name, getattr(models, name))
    install("orders.tasks", file_after("orders/tasks.py", site))
    install("orders.views", file_after("orders/views.py", site))
    return install
