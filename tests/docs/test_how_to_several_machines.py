"""The demo on several machines, as the page starts it.

tests/faults/test_distributed.py runs it, and kills a cluster.
"""

import configparser
import re
import shlex
from pathlib import Path

import pytest
from django.core.management import get_commands

from tests.demo.commands import SECRET, check
from tests.docs.helpers import ROOT
from tests.snippets import PAGES

pytestmark = pytest.mark.any_database

PAGE = "docs/how-to/several-machines.md"

MACHINES = PAGES[PAGE]

COVERED = {
    "people ──> nginx": "a drawing",
    "nox -s demo": "test_the_commands_exist",
    "django-async-downloads[ws]": "test_the_packages_are_those_of_the_tests",
    "DJANGO_SETTINGS_MODULE=": "test_the_environment_has_what_the_settings_need",
    "demo.manage migrate": "test_the_commands_exist",
    "demo.manage collectstatic": "test_the_commands_exist",
    "gunicorn demo.wsgi": "test_the_servers_find_their_applications",
    "uvicorn demo.asgi": "test_the_servers_find_their_applications",
    "demo.manage qcluster": "test_the_commands_exist",
    "ExecStart=": "test_the_unit_stops_workers_as_the_page_says",
}

#: Of one process to another, or of other kinds of the demo.
INTERNAL = {"DEMO_LOCAL_S3", "DEMO_REPORT_SECONDS", "DEMO_URL"}


def environment() -> dict[str, str]:
    """Return the variables as systemd reads them: no comments behind a value."""
    lines = MACHINES.snippet("DJANGO_SETTINGS_MODULE=").splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


def test_the_environment_has_what_the_settings_need(tmp_path: Path) -> None:
    variables = environment()
    assert [value for value in variables.values() if "#" in value or " " in value] == []
    assert variables["DEMO_SECRET_KEY"] == "..."
    checked = check(**variables | {"DEMO_SECRET_KEY": SECRET}, DEMO_VAR=str(tmp_path))
    assert checked.returncode == 0, checked.stderr
    assert "no issues" in checked.stdout


def test_the_page_names_every_variable_and_no_other() -> None:
    read = {
        name
        for path in (ROOT / "demo").rglob("*.py")
        for name in re.findall(r'"(DEMO_[A-Z_0-9]+)"', path.read_text())
    }
    assert set(re.findall(r"DEMO_[A-Z_0-9]+", MACHINES.text)) == read - INTERNAL


def test_the_commands_exist() -> None:
    console = "\n".join(MACHINES.snippets("console"))
    commands = re.findall(r"demo\.manage (\w+)", MACHINES.text)
    assert set(commands) <= get_commands().keys() | {"fill_shop"}
    assert list((ROOT / "demo").rglob("commands/fill_shop.py"))
    sessions = re.findall(r"^def (\w+)\(session", (ROOT / "noxfile.py").read_text(), re.MULTILINE)
    assert set(re.findall(r"nox -s (\w+)", console)) <= set(sessions)
    demo = "".join(path.read_text() for path in (ROOT / "demo").glob("*.py"))
    for option in ("--distributed", "--check"):
        assert f'"{option}"' in demo


def test_the_packages_are_those_of_the_tests() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    (line,) = MACHINES.snippet("django-async-downloads[ws]").splitlines()
    for package in shlex.split(line.removeprefix("pip install ")):
        name, _, extra = package.rstrip("]").partition("[")
        if name == "django-async-downloads":
            assert f"\n{extra} = [" in project
        else:
            assert re.search(rf'"{re.escape(name)}(\[[\w,]*{extra}[\w,]*\])?>=', project), package


def test_the_servers_find_their_applications() -> None:
    for line in (MACHINES.snippet("gunicorn demo"), MACHINES.snippet("uvicorn demo")):
        module, _, attribute = line.split()[1].partition(":")
        source = (ROOT / f"{module.replace('.', '/')}.py").read_text()
        assert re.search(rf"^{attribute or 'application'} = ", source, re.MULTILINE)


def test_the_unit_stops_workers_as_the_page_says() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(MACHINES.snippet("ExecStart="))
    service = unit["Service"]
    assert service["KillMode"] == "mixed"
    (command,) = [text for text in MACHINES.snippets("console") if "qcluster" in text]
    assert service["ExecStart"].endswith(f"/{command.strip()}")
    (timeout,) = re.findall(r"`DEMO_TASK_RETRY` \| `(\d+)`", MACHINES.text)
    assert int(service["TimeoutStopSec"]) >= int(timeout)
    paths = {block.file for block in MACHINES.blocks}
    assert service["EnvironmentFile"] in paths
