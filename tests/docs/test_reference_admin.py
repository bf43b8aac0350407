"""The page on the admin has each action, filter and permission."""

import re
from typing import Any

import pytest
from django.contrib import admin

from async_downloads.models import Download, DownloadCollection, ExportPreset, FetchRecord
from tests.docs.helpers import rows_of
from tests.snippets import PAGES

pytestmark = pytest.mark.any_database

PAGE = "docs/reference/admin.md"

TEXT = PAGES[PAGE].text


def model_admin() -> Any:
    return admin.site.get_model_admin(Download)


def test_the_table_has_each_action_with_its_permission(rf: Any) -> None:
    rows = rows_of(TEXT, "| action | name | applies to | permission | what it does |")
    documented = {name.strip("`"): permission for _, name, _, permission, _ in rows}
    assert list(documented) == list(model_admin().actions)
    for name, permission in documented.items():
        (needed,) = getattr(model_admin(), name).allowed_permissions

        class Holder:
            def has_perm(self, wanted: str, permission: str = permission) -> bool:
                return wanted == f"async_downloads.{permission}_download"

        request = rf.get("/")
        request.user = Holder()
        assert getattr(model_admin(), f"has_{needed}_permission")(request), name
        request.user.has_perm = lambda wanted: False
        assert not getattr(model_admin(), f"has_{needed}_permission")(request), name


def test_the_table_has_each_column() -> None:
    rows = rows_of(TEXT, "| column | what it shows |")
    assert [name.strip("`") for name, _ in rows] == list(model_admin().list_display)


def test_the_table_has_each_filter() -> None:
    rows = rows_of(TEXT, "| narrowed by | how |")
    documented = re.findall(r"filter \*(\w+)\*", "".join(row[0] for row in rows))
    titles = [
        Download._meta.get_field(each).verbose_name if isinstance(each, str) else each.title
        for each in model_admin().list_filter
    ]
    assert documented == list(map(str, titles))


def test_the_permissions_exist() -> None:
    named = {name.strip("`") for name, _, _ in rows_of(TEXT, "| permission | on | allows |")}
    known = {
        *(
            f"{action}_{model._meta.model_name}"
            for model in (Download, DownloadCollection, ExportPreset, FetchRecord)
            for action in model._meta.default_permissions
        ),
        *(code for code, _ in Download._meta.permissions),
    }
    assert named <= known
