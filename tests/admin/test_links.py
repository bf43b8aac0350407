"""Links from the page of a download or a collection."""

import re
from typing import Any

import pytest
from django.contrib import admin as django_admin
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse

from async_downloads.models import Download
from tests.factories import DownloadFactory
from tests.staff import LIST, detail, listed, staff_with, text

pytestmark = [pytest.mark.any_database, pytest.mark.django_db]


def tools(page: str) -> dict[str, str]:
    """Return the links above a page, by their text."""
    (links,) = re.findall(r'<ul class="object-tools">(.*?)</ul>', page, re.DOTALL)
    return {text: url for url, text in re.findall(r'<a href="(.*?)"[^>]*>(.*?)</a>', links)}


def test_staff_with_permissions_get_links_to_file_collection_and_user() -> None:
    download = DownloadFactory(complete=True)
    client = staff_with("view_download", "fetch_download", "view_downloadcollection", "view_user")
    links = tools(text(client, detail(download)))
    user = download.collection.user
    assert links["Download the file"] == download.url
    assert links["Collection"] == detail(download.collection)
    assert links["User"] == reverse("admin:auth_user_change", args=[user.pk])
    for name in ("Collection", "User"):
        assert client.get(links[name]).status_code == 200
    response = client.get(links["Download the file"])
    assert b"".join(response) == b"a,b\n"  # type: ignore[arg-type]


def test_staff_with_only_the_view_permission_get_no_links() -> None:
    download = DownloadFactory(complete=True)
    assert set(tools(text(staff_with("view_download"), detail(download)))) == {"History"}


def test_the_file_is_linked_exactly_if_the_view_would_send_it(settings: Any) -> None:
    client = staff_with("view_download", "fetch_download")
    download = DownloadFactory(complete=True)
    assert "Download the file" in tools(text(client, detail(download)))
    assert "Download the file" not in tools(text(client, detail(DownloadFactory(running=True))))
    settings.ASYNC_DOWNLOADS_MAY_FETCH = "tests.admin.test_links.refuse"
    assert "Download the file" not in tools(text(client, detail(download)))
    assert client.get(download.url).status_code == 404


def refuse(user: Any, download: Download) -> bool:
    """Refuse every user."""
    return False


def test_staff_get_links_to_their_own_files_without_permission() -> None:
    client = staff_with("view_download")
    user = get_user_model().objects.get()
    own = DownloadFactory(complete=True, collection__user=user)
    label = DownloadFactory(complete=True, collection__user=None, collection__label="team")
    assert tools(text(client, detail(own)))["Download the file"] == own.url
    assert "Download the file" not in tools(text(client, detail(label)))


def test_a_label_and_an_unregistered_model_get_no_link_to_a_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = staff_with("view_download", "view_user")
    label = DownloadFactory(collection__user=None, collection__label="team")
    assert "User" not in tools(text(client, detail(label)))
    monkeypatch.delitem(django_admin.site._registry, get_user_model())
    assert "User" not in tools(text(client, detail(DownloadFactory())))


def test_a_collection_links_to_its_downloads_and_its_user() -> None:
    client = staff_with("view_downloadcollection", "view_download", "view_user")
    download = DownloadFactory(name="mine")
    DownloadFactory(name="another")
    links = tools(text(client, detail(download.collection)))
    assert links["User"] == reverse("admin:auth_user_change", args=[download.collection.user_id])
    path, _, query = links["Downloads"].partition("?")
    assert path == LIST
    name, _, value = query.partition("=")
    assert listed(client, **{name: value}) == {"mine"}


def test_the_link_to_downloads_needs_permission_to_view_them() -> None:
    client: Client = staff_with("view_downloadcollection")
    assert set(tools(text(client, detail(DownloadFactory().collection)))) == {"History"}
