"""Fixtures and a suite for a site's own tests; ``pytest_plugins = ["async_downloads.testing"]``.

This is the one door to pytest, which nothing else in the package needs.
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

#: The property of a report that says which executor was asked for which case.
PROPERTY: Final = "conformance"

#: What the table says of each outcome; the last one counts, as a test may also fail at its end.
OUTCOMES: Final = {"passed": "ok", "skipped": "skipped", "failed": "FAILED", "error": "FAILED"}


@pytest.fixture
def run_download(transactional_db: None) -> Iterator["RunDownload"]:
    """Run a task for a new download as a worker would; see ``RunDownload``.

    It works outside of any transaction, as a worker does, and so the test gets
    ``transactional_db``. The files go with the rows when the test is over.
    """
    # Not above: pytest may load this module before Django is set up.
    from async_downloads.testing.running import RunDownload

    runner = RunDownload()
    yield runner
    runner.remove_files()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Note of each test of the conformance suite whose case of what it is."""
    for item in items:
        executor = getattr(getattr(item, "cls", None), "executor_name", "")
        if executor:
            function = item.function  # type: ignore[attr-defined]
            case = function.__name__.removeprefix("test_").replace("_", " ")
            item.user_properties.append(
                (PROPERTY, (executor, function.__code__.co_firstlineno, case))
            )


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print which executor has passed which case of the conformance suite."""
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
