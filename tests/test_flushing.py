"""Each test finds the rows of the migrations, and no others."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connections
from django_q.models import Schedule

from async_downloads.models import Download
from tests import flushing
from tests.factories import DownloadFactory, UserFactory

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "elsewhere"])


def rows_of_migrations() -> list[set[Any]]:
    return [
        set(model.objects.values_list(*fields))
        for model, fields in (
            (Permission, ("id", "codename", "content_type_id", "name")),
            (ContentType, ("id", "app_label", "model")),
            (Schedule, ("id", "func", "schedule_type")),
        )
    ]


# Each test runs twice, as one finds what the other leaves; their order is random.
@pytest.mark.parametrize("time", ["once", "twice"])
def test_rows_that_a_test_deletes_are_restored_for_the_next_one(time: str) -> None:
    assert all(rows_of_migrations())
    user = UserFactory(username="ada")
    user.user_permissions.set(Permission.objects.all())
    Schedule.objects.all().delete()
    ContentType.objects.all().delete()
    assert not any(rows_of_migrations())


@pytest.mark.parametrize("time", ["once", "twice"])
def test_rows_that_a_test_adds_are_deleted_for_the_next_one(time: str) -> None:
    assert not Download.objects.exists()
    DownloadFactory(collection__user=UserFactory(username="ada"))
    Permission.objects.update(name="changed")
    ContentType.objects.create(app_label="shop", model="canary")


def test_rows_are_restored_unchanged() -> None:
    before = rows_of_migrations()
    initial = flushing.contents()
    Permission.objects.update(name="changed")
    Schedule.objects.all().delete()
    for alias in connections:
        flushing._put_back(alias, initial[alias])
    assert rows_of_migrations() == before
