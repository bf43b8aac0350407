"""Checks of django-q2 report what is wrong, and only that."""

from typing import Any

import pytest

from tests.checks.test_checks import ids


@pytest.mark.parametrize(
    "cluster",
    [
        {},
        {"timeout": None, "retry": 60},
        {"retry": 60},
        {"timeout": 60},
        {"timeout": 60, "retry": 60},
        {"timeout": 120, "retry": 60},
    ],
    ids=str,
)
def test_w003_reports_a_queue_that_starts_a_running_task_again(
    settings: Any, cluster: dict[str, Any]
) -> None:
    settings.Q_CLUSTER = cluster
    assert ids() == ["W003"]


def test_w003_reports_a_queue_without_settings(settings: Any) -> None:
    del settings.Q_CLUSTER
    assert ids() == ["W003"]


def test_w003_accepts_a_longer_retry_and_a_site_without_the_queue(settings: Any) -> None:
    settings.Q_CLUSTER = {"timeout": 60, "retry": 61}
    assert ids() == []
    settings.Q_CLUSTER = {}
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_q"]
    assert ids() == []


# E012


def test_e012_reports_a_queue_in_an_unknown_database(settings: Any) -> None:
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "orm": "nowhere"}
    assert ids() == ["E012"]
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_q"]
    assert ids() == []


@pytest.mark.parametrize(
    "broker", [{"orm": "elsewhere"}, {"orm": None}, {"redis": {"db": 1}}], ids=str
)
def test_e012_accepts_a_known_database_and_other_brokers(
    settings: Any, broker: dict[str, Any]
) -> None:
    settings.Q_CLUSTER = {"timeout": 60, "retry": 120, **broker}
    assert ids() == []


# W013


def test_w013_reports_a_synchronous_queue_only_in_production(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "file"
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "sync": True}
    assert ids() == []
    assert ids(deploy=True) == ["W013"]
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_q"]
    assert ids(deploy=True) == []
