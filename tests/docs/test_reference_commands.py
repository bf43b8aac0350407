"""The page on commands has each option, the JSON and the exit codes."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command, load_command_class
from django.core.management.base import BaseCommand

from async_downloads.management.console import ExitCode
from tests.docs.helpers import ROOT, rows_of
from tests.snippets import PAGES

pytestmark = pytest.mark.any_database

PAGE = "docs/reference/commands.md"

TEXT = PAGES[PAGE].text

SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))

COMMANDS = sorted(
    path.stem
    for path in Path(ROOT / "async_downloads/management/commands").glob("*.py")
    if path.stem != "__init__"
)


def options_of(name: str) -> dict[str, str | None]:
    """Return the own options of a command, with what their value is called."""
    plain = BaseCommand().create_parser("manage.py", name)
    parser = load_command_class("async_downloads", name).create_parser("manage.py", name)
    metavars = {}
    for action in parser._actions:
        for option in action.option_strings:
            if option not in plain._option_string_actions:
                takes = action.nargs != 0
                metavars[option] = str(action.metavar or action.dest.upper()) if takes else None
    return metavars


def documented_options(text: str) -> dict[str, str | None]:
    rows = re.findall(r"^\| (`--.*?) \|", text, re.MULTILINE)
    found = re.findall(r"`(--[\w-]+)(?: (\w+))?`", "\n".join(rows))
    return {option: value or None for option, value in found}


def test_each_command_has_a_section() -> None:
    assert sorted(SECTIONS.keys() & set(COMMANDS)) == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_has_each_option(name: str) -> None:
    documented = documented_options(SECTIONS[name])
    options = options_of(name)
    assert documented.keys() == options.keys()
    assert {option: bool(value) for option, value in documented.items()} == {
        option: bool(value) for option, value in options.items()
    }


def test_the_defaults_are_those_of_the_page() -> None:
    for name in COMMANDS:
        parser = load_command_class("async_downloads", name).create_parser("manage.py", name)
        for option, number in re.findall(
            r"^\| `(--[\w-]+) \w+`.*?\(?(\d+)\)? by default", SECTIONS[name], re.MULTILINE
        ):
            assert parser._option_string_actions[option].default == float(number), option


def test_the_states_are_those_of_the_option() -> None:
    parser = load_command_class("async_downloads", "cleanup_downloads").create_parser("", "")
    (row,) = re.findall(r"^\| `--state STATE` \|(.*)\|$", TEXT, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", row)) == set(
        parser._option_string_actions["--state"].choices or ()
    )


def test_the_table_has_each_exit_code() -> None:
    table = rows_of(SECTIONS_BY_TITLE["Exit codes"], "| code | meaning |")
    assert {int(code) for code, _ in table} == set(ExitCode)


SECTIONS_BY_TITLE = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cleanup_downloads", ["--orphans", "--ledger-before", "2026-01-31"]),
        ("downloads_status", []),
        ("rescue_downloads", []),
    ],
)
def test_the_json_has_the_keys_of_the_table(capsys: Any, name: str, options: list[str]) -> None:
    call_command(name, "--json", *options)
    printed = json.loads(capsys.readouterr().out)
    section = SECTIONS[name].partition(f"### JSON of {name}\n")[2]
    assert [key.strip("`") for key, _ in rows_of(section, "| key | meaning |")] == list(printed)
