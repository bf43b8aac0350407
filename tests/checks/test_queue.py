"""Checks of django-q2: each fires on what is wrong, and only then."""

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
def test_w003_a_queue_that_starts_a_running_task_again(
    settings: Any, cluster: dict[str, Any]
) -> None:
    settings.Q_CLUSTER = cluster
    assert ids() == ["W003"]


def test_w003_a_queue_without_settings(settings: Any) -> None:
    del settings.Q_CLUSTER
    assert ids() == ["W003"]


def test_w003_is_silent_on_a_longer_retry_and_without_the_queue(settings: Any) -> None:
    settings.Q_CLUSTER = {"timeout": 60, "retry": 61}
    assert ids() == []
    settings.Q_CLUSTER = {}
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_q"]
    assert ids() == []


# E012


def test_e012_a_queue_in_a_database_that_there_is_not(settings: Any) -> None:
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "orm": "nowhere"}
    assert ids() == ["E012"]
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_q"]
    assert ids() == []


@pytest.mark.parametrize(
    "broker", [{"orm": "elsewhere"}, {"orm": None}, {"redis": {"db": 1}}], ids=str
)
def test_e012_is_silent_on_one_that_there_is_and_on_other_brokers(
    settings: Any, broker: dict[str, Any]
) -> None:
    settings.Q_CLUSTER = {"timeout": 60, "retry": 120, **broker}
    assert ids() == []


# W013


def test_w013_a_queue_that_is_none_matters_only_in_production(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "file"
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "sync": True}
    assert ids() == []
    assert ids(deploy=True) == ["W013"]
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_q"]
    assert ids(deploy=True) == []
