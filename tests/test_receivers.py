"""Signals of Django: open sockets check their sessions, and files go with their rows."""

from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User, update_last_login
from django.db import transaction
from django.test import Client
from django.test.utils import isolate_apps

from async_downloads import receivers
from async_downloads.centre import push
from async_downloads.files import storage
from async_downloads.models import Download
from tests.factories import DownloadFactory

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]


with isolate_apps("tests.shop"):
    # Models of a site, which never go, as a receiver knows a model by its address in memory.

    class Report(Download):
        class Meta:
            proxy = True
            app_label = "shop"

    class Member(User):
        class Meta:
            proxy = True
            app_label = "shop"


@pytest.fixture
def with_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start the app on a site that has these models."""
    models = [*apps.get_models(), Report, Member]
    monkeypatch.setitem(apps.all_models["shop"], "report", Report)
    # Only meanwhile: Django asks for the models of its relations in other words, and keeps them.
    with monkeypatch.context() as patched:
        patched.setattr(apps, "get_models", lambda: models)
        receivers.connect(apps.get_app_config("async_downloads"))


@pytest.fixture
def hints(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Record the hints instead of sending them."""
    sent: list[Any] = []
    monkeypatch.setattr(push, "hint", lambda *args: sent.append(args))
    return sent


def test_a_sign_out_is_a_hint(signed_in: Client, user: Any, hints: list[Any]) -> None:
    signed_in.logout()
    assert hints == [(user.pk, push.SIGNED_OUT)]


def test_the_sign_out_of_a_visitor_is_not_a_hint(client: Client, hints: list[Any]) -> None:
    client.logout()
    assert hints == []


def test_a_user_who_is_saved_or_deleted_is_a_hint_after_the_commit(
    user: Any, hints: list[Any]
) -> None:
    pk = user.pk
    for change in (user.save, user.delete):
        hints.clear()
        with transaction.atomic():
            change()
            assert hints == []
        assert hints == [(pk, push.SIGNED_OUT)]


@pytest.mark.usefixtures("with_proxies")
def test_so_is_one_who_is_saved_or_deleted_by_a_proxy_model(user: Any, hints: list[Any]) -> None:
    member = Member.objects.get(pk=user.pk)
    for change in (member.save, member.delete):
        hints.clear()
        change()
        assert hints == [(user.pk, push.SIGNED_OUT)]


@pytest.mark.usefixtures("with_proxies")
@pytest.mark.parametrize("by", ["an instance", "a query"])
def test_a_download_that_is_deleted_by_a_proxy_model_loses_its_file(user: Any, by: str) -> None:
    download = DownloadFactory(collection__user=user, complete=True)
    reports = Report.objects.filter(pk=download.pk)
    if by == "an instance":
        reports.get().delete()
    else:
        reports.defer("filepath").delete()
    assert not storage.storage().exists(download.filepath)


def test_a_sign_in_and_a_new_user_are_not_hints(user: Any, hints: list[Any]) -> None:
    update_last_login(type(user), user)
    type(user).objects.create(username="grace")
    assert hints == []
