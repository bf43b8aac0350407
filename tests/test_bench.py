"""The bench runs each of its measurements, here on very little data."""

import json
import sys
from pathlib import Path

import pytest

from tests.bench import __main__ as bench
from tests.bench.cases import CASES
from tests.bench.runner import SITE

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


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}-{case.size}")
def test_each_subject_defines_its_case(case: bench.Case) -> None:
    for subject in case.subjects:
        module, _, name = subject.partition(".")
        source = (SITE / "subjects" / f"{module}.py").read_text()
        assert f"def {name or case.name}(" in source or f"{name or case.name} = " in source


def test_the_bench_runs_with_the_given_interpreter() -> None:
    assert bench._options(["--old-python", sys.executable]).old_python == sys.executable
