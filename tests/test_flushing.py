"""Each test finds the rows that the migrations made, and no others."""

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


def made_by_migrations() -> list[set[Any]]:
    return [
        set(model.objects.values_list(*fields))
        for model, fields in (
            (Permission, ("id", "codename", "content_type_id", "name")),
            (ContentType, ("id", "app_label", "model")),
            (Schedule, ("id", "func", "schedule_type")),
        )
    ]


# The same test twice, as what one leaves is what the other finds; their order is random.
@pytest.mark.parametrize("time", ["once", "twice"])
def test_whatever_a_test_deletes_is_there_for_the_next_one(time: str) -> None:
    assert all(made_by_migrations())
    user = UserFactory(username="ada")
    user.user_permissions.set(Permission.objects.all())
    Schedule.objects.all().delete()
    ContentType.objects.all().delete()
    assert not any(made_by_migrations())


@pytest.mark.parametrize("time", ["once", "twice"])
def test_whatever_a_test_makes_is_gone_for_the_next_one(time: str) -> None:
    assert not Download.objects.exists()
    DownloadFactory(collection__user=UserFactory(username="ada"))
    Permission.objects.update(name="changed")
    ContentType.objects.create(app_label="shop", model="canary")


def test_rows_come_back_as_they_were() -> None:
    before = made_by_migrations()
    initial = flushing.contents()
    Permission.objects.update(name="changed")
    Schedule.objects.all().delete()
    for alias in connections:
        flushing._put_back(alias, initial[alias])
    assert made_by_migrations() == before
