"""Deleting users needs no permission on downloads, and gives none."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.admin import UserAdmin
from django.core.files.storage import default_storage
from django.test import Client, RequestFactory
from django.urls import include, path, reverse

from async_downloads.admin import DownloadAdmin, DownloadCollectionAdmin
from async_downloads.models import Download, DownloadCollection
from tests.factories import DownloadFactory, UserFactory
from tests.staff import COLLECTIONS, LIST, chosen, detail, staff_with

pytestmark = pytest.mark.django_db(transaction=True)

User = get_user_model()

USERS = "/admin/auth/user/"


class CollectionInline(admin.StackedInline):
    model = DownloadCollection
    fields = ["label"]


class UserWithCollectionAdmin(UserAdmin):
    inlines = [CollectionInline]


office = admin.AdminSite("office")
office.register(User, UserWithCollectionAdmin)
office.register(Download, DownloadAdmin)
office.register(DownloadCollection, DownloadCollectionAdmin)

urlpatterns = [path("office/", office.urls), path("", include("tests.urls"))]


@pytest.fixture
def two_sites(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__


@pytest.fixture
def user_manager() -> Client:
    """Return a client of staff who may only see and delete users."""
    return staff_with("view_user", "delete_user")


@pytest.fixture
def download() -> Download:
    return DownloadFactory(complete=True)


def delete_page(user: Any, site: str = "admin") -> str:
    return reverse("admin:auth_user_delete", args=[user.pk], current_app=site)


@pytest.mark.parametrize("site", ["admin", "office"])
def test_a_user_is_deleted_with_their_downloads(
    user_manager: Client, download: Download, two_sites: None, site: str
) -> None:
    user = download.collection.user
    page = delete_page(user, site)
    assert page.startswith(f"/{site}/")
    assert "Are you sure" in user_manager.get(page).text
    assert user_manager.post(page, {"post": "yes"}).status_code == 302
    assert not User.objects.filter(pk=user.pk).exists()
    assert not DownloadCollection.objects.exists()
    assert not default_storage.exists(download.filepath)


@pytest.mark.parametrize("site", ["admin", "office"])
def test_several_users_are_deleted_with_their_downloads(
    user_manager: Client, two_sites: None, site: str
) -> None:
    downloads = [DownloadFactory(complete=True), DownloadFactory(running=True)]
    users = [each.collection.user for each in downloads]
    kept = DownloadFactory()
    answer = chosen(user_manager, "delete_selected", users, url=f"/{site}/auth/user/", post="yes")
    assert "Successfully deleted 2 users." in answer.text
    assert list(Download.objects.all()) == [kept]


def test_without_permission_on_users_nothing_is_deleted(download: Download) -> None:
    client = staff_with("view_user", "delete_download", "delete_downloadcollection")
    assert client.post(delete_page(download.collection.user), {"post": "yes"}).status_code == 403
    assert Download.objects.exists()


@pytest.mark.parametrize("site", ["admin", "office"])
@pytest.mark.parametrize("url", [LIST, COLLECTIONS])
def test_permission_on_users_gives_none_on_downloads(
    download: Download, two_sites: None, site: str, url: str
) -> None:
    client = staff_with("view_user", "delete_user", "view_download", "view_downloadcollection")
    row = download if url == LIST else download.collection
    address, own_list = detail(row), url
    if site == "office":
        address, own_list = (each.replace("/admin/", "/office/", 1) for each in (address, url))
    shown = client.get(address)
    assert shown.status_code == 200
    assert "deletelink" not in shown.text
    assert client.get(address.replace("change", "delete")).status_code == 403
    assert client.post(address.replace("change", "delete"), {"post": "yes"}).status_code == 403
    chosen(client, "delete_selected", [row], url=own_list, post="yes")
    chosen(client, "cancel", [row], url=own_list, post="yes")
    assert Download.objects.exists()


def test_an_inline_on_a_users_page_needs_permission_on_its_model(
    download: Download, two_sites: None
) -> None:
    client = staff_with("view_user", "change_user", "delete_user", "view_downloadcollection")
    user, collection = download.collection.user, download.collection
    page = f"/office/auth/user/{user.pk}/change/"
    assert "download_collection-0" in client.get(page).text
    form = {
        "username": user.username,
        "date_joined_0": "2026-01-31",
        "date_joined_1": "09:05:00",
        "download_collection-TOTAL_FORMS": "1",
        "download_collection-INITIAL_FORMS": "1",
        "download_collection-0-id": str(collection.pk),
        "download_collection-0-user": str(user.pk),
        "download_collection-0-DELETE": "on",
    }
    assert client.post(page, form).status_code == 302
    assert DownloadCollection.objects.filter(pk=collection.pk).exists()


def test_a_request_outside_the_user_pages_gets_no_permission(
    download: Download, rf: RequestFactory
) -> None:
    request = rf.get("/")
    request.user = UserFactory(is_staff=True)
    for row in (download, download.collection):
        model_admin: Any = admin.site.get_model_admin(type(row))
        assert not model_admin.has_delete_permission(request, row)
