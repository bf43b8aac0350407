"""Signals of Django after which open sockets check their sessions."""

from typing import Any

import pytest
from django.contrib.auth.models import update_last_login
from django.db import transaction
from django.test import Client

from async_downloads.centre import push

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]


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


def test_a_sign_in_and_a_new_user_are_not_hints(user: Any, hints: list[Any]) -> None:
    update_last_login(type(user), user)
    type(user).objects.create(username="grace")
    assert hints == []
