"""The sections of the page of all downloads."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone, translation

from async_downloads.store.listing import PAGE_SIZE
from tests.factories import DownloadCollectionFactory, DownloadFactory

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]


def sections(client: Client, page: int = 1) -> list[tuple[str, int, list[str]]]:
    """Return title, count and names of each section of a page."""
    response = client.get(reverse("async_downloads:download_list"), {"page": page})
    return [
        (section.title, section.count, [download.name for download in section.downloads])
        for section in response.context["sections"]
    ]


def test_what_is_in_progress_comes_before_what_is_ready_and_what_has_failed(
    signed_in: Client, user: Any
) -> None:
    collection = DownloadCollectionFactory(user=user)
    silent = timezone.now() - timedelta(hours=1)
    for name, values in (
        ("running", {"running": True}),
        ("failed", {"failed": True}),
        ("stalled", {"running": True, "heard_at": silent}),
        ("old", {"complete": True}),
        ("pending", {}),
        ("new", {"complete": True}),
    ):
        DownloadFactory(collection=collection, name=name, **values)
    assert sections(signed_in) == [
        ("In progress", 3, ["pending", "stalled", "running"]),
        ("Ready", 2, ["new", "old"]),
        ("Failed", 1, ["failed"]),
    ]


def test_an_empty_section_is_left_out(signed_in: Client, user: Any) -> None:
    assert sections(signed_in) == []
    DownloadFactory(collection__user=user, failed=True, name="failed")
    assert sections(signed_in) == [("Failed", 1, ["failed"])]


@pytest.mark.parametrize(
    ("language", "ready", "failed"),
    [
        ("es", "Disponibles", "Fallidas"),
        ("fr", "Prêts", "Échoués"),
        ("he", "מוכנות", "נכשלו"),
    ],
)
def test_the_titles_are_of_several_downloads(
    signed_in: Client, user: Any, language: str, ready: str, failed: str
) -> None:
    collection = DownloadCollectionFactory(user=user)
    DownloadFactory(collection=collection, complete=True)
    DownloadFactory(collection=collection, failed=True)
    with translation.override(language):
        titles = [title for title, _, _ in sections(signed_in)]
    assert titles == [ready, failed]


def test_the_counts_are_those_of_all_pages(signed_in: Client, user: Any) -> None:
    collection = DownloadCollectionFactory(user=user)
    DownloadFactory.create_batch(PAGE_SIZE + 2, collection=collection, complete=True, name="ready")
    DownloadFactory(collection=collection, failed=True, name="failed")
    assert sections(signed_in) == [("Ready", PAGE_SIZE + 2, ["ready"] * PAGE_SIZE)]
    last = [("Ready", PAGE_SIZE + 2, ["ready"] * 2), ("Failed", 1, ["failed"])]
    assert sections(signed_in, 2) == last


def test_clear_finished_on_the_last_page_clears_all_pages(signed_in: Client, user: Any) -> None:
    collection = DownloadCollectionFactory(user=user)
    DownloadFactory.create_batch(PAGE_SIZE + 2, collection=collection, complete=True)
    response = signed_in.get(reverse("async_downloads:download_list"), {"page": 2})
    values = {"until": response.context["newest"].isoformat()}
    signed_in.post(reverse("async_downloads:clear_finished"), values)
    assert sections(signed_in) == []
