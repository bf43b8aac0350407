"""Permissions beyond ownership, which the site decides."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse

from async_downloads.models import Download
from tests.factories import DownloadFactory
from tests.site_functions import SiteFunction

pytestmark = pytest.mark.django_db(transaction=True)

#: The function of the site.
may_fetch = SiteFunction(lambda user, download: (user.get_username(), download.name), answer=True)
asked = may_fetch.asked


@pytest.fixture
def site_answers(settings: Any) -> Callable[[Any], None]:
    settings.ASYNC_DOWNLOADS_MAY_FETCH = f"{__name__}.may_fetch"
    return may_fetch.begin()


@pytest.fixture
def mine(user: Any) -> Download:
    return DownloadFactory(collection__user=user, complete=True, name="Orders")


@pytest.mark.parametrize(("value", "status"), [(True, 200), (1, 200), (False, 404), (None, 404)])
def test_the_site_decides_at_each_request_for_a_file(
    site_answers: Any, signed_in: Client, mine: Download, value: Any, status: int
) -> None:
    site_answers(value)
    for method in (signed_in.get, signed_in.head):
        response = method(mine.url)
        assert response.status_code == status
        response.close()
    assert asked == [("ada", "Orders")] * 2


async def may_fetch_async(user: Any, download: Download) -> bool:
    """Decide by a query that is awaited."""
    return await get_user_model().objects.filter(pk=user.pk, first_name="Ada").aexists()


@pytest.mark.parametrize(("first_name", "status"), [("Ada", 200), ("", 404)])
def test_the_function_of_the_site_may_be_a_coroutine_function(
    settings: Any, signed_in: Client, user: Any, mine: Download, first_name: str, status: int
) -> None:
    settings.ASYNC_DOWNLOADS_MAY_FETCH = f"{__name__}.may_fetch_async"
    type(user).objects.filter(pk=user.pk).update(first_name=first_name)
    response = signed_in.get(mine.url)
    assert response.status_code == status
    response.close()


def test_a_refused_file_looks_like_an_unknown_one(
    site_answers: Any, signed_in: Client, mine: Download
) -> None:
    site_answers(False)
    unknown = reverse("async_downloads:download", args=["0b6a1f2e-7c59-4f0a-9b1d-3f6f0a1c2d3e"])
    assert signed_in.get(mine.url).content == signed_in.get(unknown).content


def test_an_exception_of_the_site_refuses_the_file_and_is_logged(
    site_answers: Any, signed_in: Client, mine: Download, caplog: pytest.LogCaptureFixture
) -> None:
    site_answers(LookupError("which tenant?"))
    assert signed_in.get(mine.url).status_code == 404
    (record,) = [
        record for record in caplog.records if record.name == "async_downloads.permissions"
    ]
    assert "which tenant?" in str(record.exc_info)


def test_a_dotted_path_that_cannot_be_imported_refuses_the_file(
    settings: Any, signed_in: Client, mine: Download, caplog: pytest.LogCaptureFixture
) -> None:
    settings.ASYNC_DOWNLOADS_MAY_FETCH = "no.such.function"
    assert signed_in.get(mine.url).status_code == 404
    assert "no" in caplog.text


def test_the_site_cannot_permit_the_file_of_another_user(
    site_answers: Any, client: Client, mine: Download, other_user: Any
) -> None:
    site_answers(True)
    client.force_login(other_user)
    assert client.get(mine.url).status_code == 404
    assert asked == []


def test_a_refused_owner_still_sees_and_clears_the_download(
    site_answers: Any, signed_in: Client, mine: Download
) -> None:
    site_answers(False)
    assert "Orders" in signed_in.get(reverse("async_downloads:download_list")).text
    cleared = signed_in.post(
        reverse("async_downloads:ajax_clear_download"), {"download_key": mine.pk}
    )
    assert cleared.status_code == 200
    assert not Download.objects.exists()
