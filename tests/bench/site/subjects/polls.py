"""Users whose pages poll, for both versions."""

from collections.abc import Callable
from typing import Any

from django.contrib.auth import get_user_model
from django.test import RequestFactory
from django.urls import reverse

#: The polls of one measurement.
CALLS = 300


def user_named(name: str = "ada") -> Any:
    """Return the user with this name, made if necessary."""
    return get_user_model().objects.get_or_create(username=name)[0]


def polls(user: Any, view: Any, options: Callable[[], dict[str, Any]]) -> Callable[[], int]:
    """Return a function that polls a view many times, with options of a request."""
    factory, url = RequestFactory(), reverse("async_downloads:ajax_update")

    def body() -> int:
        for _ in range(CALLS):
            request = factory.get(url, **options())
            request.user = user
            response = view(request)
            assert response.status_code in (200, 204)
        return CALLS

    return body
