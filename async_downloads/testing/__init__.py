"""Fixtures and a suite for a site's own tests; ``pytest_plugins = ["async_downloads.testing"]``.

Only this package imports pytest.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

try:
    import pytest
except ImportError as error:
    raise ImportError(
        "async_downloads.testing needs pytest and pytest-django: "
        'pip install "django-async-downloads[testing]"',
        name="pytest",
    ) from error

if TYPE_CHECKING:
    from async_downloads.testing.running import RunDownload

__all__ = [
    "pytest_collection_modifyitems",
    "pytest_terminal_summary",
    "run_download",
]

#: The property of a report with the executor and the case.
PROPERTY: Final = "conformance"

#: The word in the table for each outcome. Later ones win, as a test may also fail in its teardown.
OUTCOMES: Final = {"passed": "ok", "skipped": "skipped", "failed": "FAILED", "error": "FAILED"}


@pytest.fixture
def run_download(transactional_db: None) -> Iterator["RunDownload"]:
    """Run a task for a new download as a worker would; see ``RunDownload``.

    Like a worker, it works outside of any transaction, so the test gets
    ``transactional_db``. The rows and files are deleted after the test.
    """
    # Imported late: pytest may load this module before Django is set up.
    from async_downloads.testing.running import RunDownload

    runner = RunDownload()
    yield runner
    runner.remove_files()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Record the executor and the case on each test of the conformance suite."""
    for item in items:
        executor = getattr(getattr(item, "cls", None), "executor_name", "")
        if executor:
            function = item.function  # type: ignore[attr-defined]
            case = function.__name__.removeprefix("test_").replace("_", " ")
            item.user_properties.append(
                (PROPERTY, (executor, function.__code__.co_firstlineno, case))
            )


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the cases of the conformance suite that each executor has passed."""
    cells: dict[tuple[str, tuple[int, str]], str] = {}
    for outcome, text in OUTCOMES.items():
        for report in terminalreporter.getreports(outcome):
            for name, value in getattr(report, "user_properties", ()):
                if name == PROPERTY:
                    executor, *case = value
                    cells[executor, tuple(case)] = text
    if cells:
        terminalreporter.section("downloads: executors and cases", "-")
        for line in _table(cells):
            terminalreporter.write_line(line)


def _table(cells: dict[tuple[str, tuple[int, str]], str]) -> Iterator[str]:
    executors = sorted({executor for executor, _ in cells})
    cases = sorted({case for _, case in cells})
    width = max(len(case) for _, case in cases)
    yield " " * width + "".join(f"  {executor}" for executor in executors)
    for case in cases:
        shown = (f"  {cells.get((name, case), ''):^{len(name)}}" for name in executors)
        yield (f"{case[1]:{width}}" + "".join(shown)).rstrip()
