"""People whose pages look for news; shared by both packages."""

from collections.abc import Callable
from typing import Any

from django.contrib.auth import get_user_model
from django.test import RequestFactory
from django.urls import reverse

#: Polls that are timed in one go.
CALLS = 300


def somebody(name: str = "ada") -> Any:
    """Return a user by a name."""
    return get_user_model().objects.get_or_create(username=name)[0]


def polls(user: Any, view: Any, ask: Callable[[], dict[str, Any]]) -> Callable[[], int]:
    """Return what polls a view many times, each time with what ``ask`` returns."""
    factory, url = RequestFactory(), reverse("async_downloads:ajax_update")

    def body() -> int:
        for _ in range(CALLS):
            request = factory.get(url, **ask())
            request.user = user
            response = view(request)
            assert response.status_code in (200, 204)
        return CALLS

    return body
