"""The bench runs each of its measurements, here on very little data."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import services
from tests.bench import __main__ as bench
from tests.bench import poll_crowd, responses
from tests.bench.cases import CASES
from tests.bench.runner import ROOT, SITE, Bench

pytestmark = pytest.mark.long


def test_the_bench_prints_a_table_and_writes_its_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = tmp_path / "bench.json"
    small = ("--scale", "0.001", "--rounds", "1", "--old-python", "", "--json", str(written))
    bench.main([*small, "--only", "rows", "progress"])
    table = capsys.readouterr().out
    assert "| 1,000 rows from a generator | sqlite | floor |" in table
    assert "Not there, so skipped: old." in table
    measured = json.loads(written.read_text())["results"]
    assert [(each["case"], each["subject"]) for each in measured] == [
        ("rows", "floor"),
        ("rows", "ours"),
        ("progress", "ours"),
    ]
    assert all(each["seconds"][0] > 0 for each in measured)


def test_the_command_starts_without_a_site() -> None:
    command = [sys.executable, "-m", "tests.bench", "--help"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "responses" in printed


def test_each_response_of_the_table_is_measured() -> None:
    part = "redis" if services.available("redis") else "locmem"
    new = Bench(orders=0)
    with new.ready(), responses.responders(new, "sqlite", part) as subjects:
        ours = subjects["ours"]
        without_redis = {"bytes"} if part == "locmem" else set()
        expected = {response.ours for response in responses.RESPONSES}
        assert set(ours.names) == expected - without_redis
        bare, page = ours.measure("bare"), ours.measure("page_1")
        assert 0 < bare["bytes"] < page["bytes"]
        # Both read the session and the user.
        assert bare["queries"] == 2
        assert ours.measure("open_changed_1")["status"] == 200
        if part == "redis":
            unchanged = ours.measure("open_unchanged_1")
            assert (unchanged["status"], unchanged["queries"], unchanged["reads"]) == (204, 2, 1)


def test_the_crowd_polls_a_real_server(monkeypatch: pytest.MonkeyPatch) -> None:
    if not services.available("redis"):
        pytest.skip("no Redis answers")
    monkeypatch.setattr(poll_crowd, "WARM_UP", 1)
    monkeypatch.setattr(poll_crowd, "SECONDS", 3)
    new = Bench(orders=0)
    with new.ready():
        measured = poll_crowd.measure(new, "ours", "sqlite", 3, pause=1.0)
    assert set(measured["statuses"]) <= {"200", "204"}
    assert measured["core"] > 0


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}-{case.size}")
def test_each_subject_defines_its_case(case: bench.Case) -> None:
    for subject in case.subjects:
        module, _, name = subject.partition(".")
        source = (SITE / "subjects" / f"{module}.py").read_text()
        assert f"def {name or case.name}(" in source or f"{name or case.name} = " in source


def test_the_bench_runs_with_the_given_interpreter() -> None:
    assert bench._options(["--old-python", sys.executable]).old_python == sys.executable
