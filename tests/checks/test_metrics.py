"""Checks of metrics report a choice that cannot work, and numbers that no scrape would reach."""

from pathlib import Path
from typing import Any

import pytest

from async_downloads.checks.metrics import PACKAGES
from async_downloads.metrics import METERS, MULTIPROC_DIR
from tests.checks.test_checks import ids, messages


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that processes share."""
    monkeypatch.setenv(MULTIPROC_DIR, str(tmp_path))
    return tmp_path


@pytest.fixture(autouse=True)
def _shared_cache(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "file"


@pytest.mark.parametrize("value", ["statsd", "Prometheus", None, False, ["prometheus"]], ids=repr)
def test_e021_reports_an_unknown_value(settings: Any, value: Any) -> None:
    settings.ASYNC_DOWNLOADS_METRICS = value
    assert ids() == ["E021"]
    assert "prometheus, opentelemetry" in str(messages()[0].hint)


@pytest.mark.parametrize("value", ["", *METERS])
def test_each_value_passes(settings: Any, value: str) -> None:
    settings.ASYNC_DOWNLOADS_METRICS = value
    assert ids(deploy=True) == []


def test_e022_has_a_package_for_each_value() -> None:
    # tests/metrics/test_connect.py runs it without the packages.
    assert PACKAGES.keys() == METERS.keys()


def test_e023_reports_a_folder_that_cannot_be_written_to(settings: Any, folder: Path) -> None:
    folder.rmdir()
    assert ids(deploy=True) == []
    settings.ASYNC_DOWNLOADS_METRICS = "prometheus"
    assert ids(deploy=True) == ["E023"]
    folder.write_text("a file")
    assert ids(deploy=True) == ["E023"]


def test_w020_reports_that_processes_share_no_metrics(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(MULTIPROC_DIR)
    assert ids(deploy=True) == []
    settings.ASYNC_DOWNLOADS_METRICS = "prometheus"
    assert ids() == []
    assert ids(deploy=True) == ["W020"]
    settings.ASYNC_DOWNLOADS_METRICS = "opentelemetry"
    assert ids(deploy=True) == []
