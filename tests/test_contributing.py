"""The files for contributors and the workflow name what exists."""

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.any_database

ROOT = Path(__file__).parent.parent
NOXFILE = ast.parse((ROOT / "noxfile.py").read_text())
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())


def sessions() -> set[str]:
    """Return the names of all nox sessions, parametrized ones in full."""
    names = set()
    for node in NOXFILE.body:
        if not isinstance(node, ast.FunctionDef):
            continue
        decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
        if any(text.startswith("nox.parametrize") for text in decorators):
            names |= {f"{node.name}({case})" for case in matrix_cases()}
        elif any(text.startswith("nox.session") for text in decorators):
            names.add(node.name)
    return names


def matrix_cases() -> list[str]:
    (pairs,) = [
        ast.literal_eval(node.value)
        for node in NOXFILE.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MATRIX"
    ]
    return [f"python{python}-django{django}" for python, django in pairs]


def commands() -> set[str]:
    """Return the sessions that the workflow runs, with the values of each job's matrix."""
    names = set()
    for job in WORKFLOW["jobs"].values():
        for step in job["steps"]:
            for command in re.findall(r"nox -s (.+)", step.get("run", "")):
                names |= {command.strip('"').replace(PLACE, each) for each in values(job)}
    return names


PLACE = "${{ matrix.session }}"


def values(job: dict[str, Any]) -> list[str]:
    matrix = job["strategy"]["matrix"]
    listed: list[str] = matrix.get("session", [])
    return [*listed, *(each["session"] for each in matrix.get("include", []))]


def run_locally() -> set[str]:
    """Return the sessions that ``.ci/run`` runs."""
    script = (ROOT / ".ci/run").read_text()
    names = re.findall(r'^ *(?:\w+=\S+ )?(?:run|beside) "?([^"\n]+?)"?$', script, re.MULTILINE)
    assert len(names) > 5
    return set(names)


def session_of(command: str) -> str:
    return command.partition(" ")[0]


def test_the_workflow_runs_sessions_that_exist() -> None:
    run_sessions = commands()
    assert run_sessions
    assert {session_of(command) for command in run_sessions} - sessions() == set()


def test_the_workflow_runs_every_session_of_the_local_script() -> None:
    assert run_locally() - commands() == set()


def test_the_workflow_runs_every_case_of_the_matrix() -> None:
    cases = {command for command in commands() if command.startswith("matrix")}
    assert cases == {f"matrix({case})" for case in matrix_cases()}


def test_the_workflow_requires_known_services() -> None:
    from tests import services

    text = (ROOT / ".github/workflows/ci.yml").read_text() + (ROOT / ".ci/run").read_text()
    required = re.findall(r"(?:requires: |TESTS_REQUIRE(?:: |=))([\w,-]+)", text)
    assert len(required) > 3
    assert {name for names in required for name in names.split(",")} <= set(services.SERVICES)


def test_the_guide_for_contributors_lists_every_session() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text()
    listed = set(re.findall(r"^\| `nox -s (\w+)", guide, re.MULTILINE))
    assert listed == {name.partition("(")[0] for name in sessions()}


def test_the_guide_for_contributors_names_files_that_exist() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text()
    named = re.findall(r"\]\((?!https?:)([^)#]+)", guide)
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda p: p.name)
def test_the_forms_and_workflows_of_the_project_page_are_valid(path: Path) -> None:
    read = yaml.safe_load(path.read_text())
    assert isinstance(read, dict)
    for field in read.get("body", []):
        assert field["type"] in {"markdown", "textarea", "input", "dropdown", "checkboxes"}
        assert "attributes" in field


def test_local_hooks_use_tools_of_the_lint_group() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    own = [each for repo in hooks["repos"] if repo["repo"] == "local" for each in repo["hooks"]]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    tools = " ".join(project["dependency-groups"]["lint"])
    programs = {"ruff": "ruff", "lint-imports": "import-linter"}
    assert own
    assert {programs[hook["entry"].partition(" ")[0]] in tools for hook in own} == {True}


def test_every_version_of_the_changelog_has_a_link() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## \[([^\]]+)\]", text, re.MULTILINE)
    assert versions[0] == "Unreleased"
    assert versions == re.findall(r"^\[([^\]]+)\]: https://", text, re.MULTILINE)
    assert versions[1:] == sorted(versions[1:], key=lambda v: [*map(int, v.split("."))])[::-1]
