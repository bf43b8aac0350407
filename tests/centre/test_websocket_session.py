"""When the session of a socket is valid."""

from typing import Any

import pytest
from django.contrib.auth import HASH_SESSION_KEY
from django.test import Client

from async_downloads.centre.websocket_session import is_valid

pytestmark = [pytest.mark.any_database, pytest.mark.django_db]


def test_the_session_of_a_signed_in_user_is_valid(signed_in: Client, user: Any) -> None:
    assert is_valid(signed_in.session, user)


def test_the_session_of_another_user_is_not_valid(
    signed_in: Client, user: Any, other_user: Any
) -> None:
    assert not is_valid(signed_in.session, other_user)


def test_a_site_without_sessions_decides_by_itself(user: Any) -> None:
    assert is_valid(None, user)


@pytest.mark.parametrize("end", ["signed out", "inactive", "deleted", "password"])
def test_a_session_that_has_ended_is_not_valid(signed_in: Client, user: Any, end: str) -> None:
    session = signed_in.session
    if end == "signed out":
        signed_in.logout()
    elif end == "deleted":
        type(user).objects.get(pk=user.pk).delete()
    elif end == "inactive":
        type(user).objects.update(is_active=False)
    else:
        changed = type(user).objects.get(pk=user.pk)
        changed.set_password("another")
        changed.save()
    assert not is_valid(session, user)


def test_the_backend_of_the_session_must_still_be_in_use(
    signed_in: Client, user: Any, settings: Any
) -> None:
    session = signed_in.session
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.RemoteUserBackend"]
    assert not is_valid(session, user)


def test_a_session_of_an_earlier_secret_key_is_valid_and_stays_as_it_is(
    signed_in: Client, user: Any, settings: Any
) -> None:
    session = signed_in.session
    before = session[HASH_SESSION_KEY]
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new", [settings.SECRET_KEY]
    assert is_valid(session, user)
    assert session.__class__(session.session_key)[HASH_SESSION_KEY] == before
