"""One download as JSON."""

import uuid
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from async_downloads import cache
from async_downloads.models import Download
from tests.attempts import claimed
from tests.factories import DownloadFactory

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]

OF_DJANGO = 2


def url_of(key: Any) -> str:
    return reverse("async_downloads:detail", args=[key])


def test_it_has_the_live_percentage(signed_in: Client, user: Any, any_cache: str) -> None:
    _, key = cache.init_download(user, "orders.csv", "Orders")
    with claimed(Download.objects.get()):
        cache.set_percentage(key, 40)
    entry = signed_in.get(url_of(key)).json()
    assert (entry["download_key"], entry["name"], entry["user"]) == (key, "Orders", "ada")
    assert entry["percentage"] == 40
    assert entry["detail_url"] == url_of(key)


def test_it_is_304_for_one_read_of_the_cache_until_it_changes(
    signed_in: Client, user: Any, round_trips: list[str], django_assert_num_queries: Any
) -> None:
    _, key = cache.init_download(user, "orders.csv")
    etag = signed_in.get(url_of(key))["ETag"]
    headers = {"If-None-Match": etag}
    round_trips.clear()
    with django_assert_num_queries(OF_DJANGO):
        assert signed_in.get(url_of(key), headers=headers).status_code == 304
    assert round_trips == ["get_many"]
    cache.set_percentage(key, 40)
    assert signed_in.get(url_of(key), headers=headers).json()["percentage"] == 40


def test_a_tag_is_of_one_download(signed_in: Client, user: Any, shared_cache: str) -> None:
    keys = [cache.init_download(user, "orders.csv")[1] for _ in range(2)]
    etag = signed_in.get(url_of(keys[0]))["ETag"]
    headers = {"If-None-Match": etag}
    assert signed_in.get(url_of(keys[1]), headers=headers).status_code == 200


def test_one_that_was_cleared_is_404(signed_in: Client, user: Any, shared_cache: str) -> None:
    _, key = cache.init_download(user, "orders.csv")
    etag = signed_in.get(url_of(key))["ETag"]
    signed_in.post(reverse("async_downloads:ajax_clear_download"), {"download_key": key})
    response = signed_in.get(url_of(key), headers={"If-None-Match": etag})
    assert response.status_code == 404
    assert response.json()["detail"] == "This download does not exist."


def test_that_of_another_user_and_an_expired_one_look_unknown(signed_in: Client, user: Any) -> None:
    others = DownloadFactory(complete=True)
    expired = DownloadFactory(collection__user=user, complete=True, expired=True)
    answers = [signed_in.get(url_of(key)) for key in (others.pk, expired.pk, uuid.uuid4())]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1
