"""The admin of export presets: staff see and delete them, the page before an export saves them."""

from typing import Any, Final

import pytest
from django.contrib import admin

from async_downloads.models import ExportPreset, LastExport
from tests.factories import UserFactory
from tests.staff import staff_with, text

pytestmark = [pytest.mark.any_database, pytest.mark.django_db]

LIST: Final = "/admin/async_downloads/exportpreset/"


@pytest.fixture
def preset() -> ExportPreset:
    choices = {"columns": ["total"], "format": "xlsx"}
    return ExportPreset.objects.create(changelist="admin:shop.order", name="A & B", choices=choices)


def test_staff_with_the_permission_see_presets_of_all_lists(preset: ExportPreset) -> None:
    client = staff_with("view_exportpreset")
    page = text(client, LIST)
    assert "A &amp; B" in page
    assert "admin:shop.order" in page
    assert "&quot;format&quot;: &quot;xlsx&quot;" in text(client, f"{LIST}{preset.pk}/change/")


@pytest.mark.parametrize("permission", ["add_exportpreset", "change_exportpreset"])
def test_presets_are_neither_added_nor_edited_in_the_admin(
    preset: ExportPreset, permission: str
) -> None:
    client = staff_with("view_exportpreset", permission)
    assert client.get(f"{LIST}add/").status_code == 403
    assert client.post(f"{LIST}{preset.pk}/change/", {"name": "B"}).status_code == 403
    preset.refresh_from_db()
    assert preset.name == "A & B"


@pytest.mark.parametrize("permission", ["delete_exportpreset", "delete_download"])
def test_presets_are_deleted_with_the_permission(preset: ExportPreset, permission: str) -> None:
    client = staff_with("view_exportpreset", permission)
    response = client.post(f"{LIST}{preset.pk}/delete/", {"post": "yes"})
    deleted = permission == "delete_exportpreset"
    assert response.status_code == (302 if deleted else 403)
    assert ExportPreset.objects.exists() is not deleted


def test_the_last_choices_of_a_person_go_with_the_user() -> None:
    user = UserFactory()
    LastExport.objects.create(user=user, changelist="admin:shop.order", choices={"columns": []})
    page = f"/admin/auth/user/{user.pk}/delete/"
    client = staff_with("view_user", "delete_user")
    assert client.post(page, {"post": "yes"}).status_code == 302
    assert not LastExport.objects.exists()


def test_the_last_choices_of_people_are_not_in_the_admin() -> None:
    registered: list[Any] = list(admin.site._registry)
    assert "LastExport" not in {model.__name__ for model in registered}
