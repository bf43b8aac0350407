"""People who are signed in, for both versions."""

from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.auth import get_user_model
from django.test import Client


class Person(NamedTuple):
    """A user whose page polls.

    Attributes:
        cookies: The header with the cookies.
        url: The URL of the first poll.
        key: The download that is running.
    """

    cookies: str
    url: str
    key: str


def user_named(name: str = "ada") -> Any:
    """Return the user with this name, made if necessary."""
    return get_user_model().objects.get_or_create(username=name)[0]


def session_cookie(user: Any) -> str:
    """Sign a user in, and return the header with the cookie of the session."""
    client = Client()
    client.force_login(user)
    name = settings.SESSION_COOKIE_NAME
    return f"{name}={client.cookies[name].value}"
