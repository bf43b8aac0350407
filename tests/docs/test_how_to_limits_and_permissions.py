"""docs/how-to/limits-and-permissions.md."""

import re
import sys
import types
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client, RequestFactory

from async_downloads import cache
from async_downloads.models import Download
from tests.docs.helpers import content, executed, posted, problems, table
from tests.factories import DownloadFactory
from tests.snippets import Page

pytestmark = pytest.mark.any_database

PAGE = "docs/how-to/limits-and-permissions.md"

COVERED = {
    "ASYNC_DOWNLOADS_MAX_ACTIVE = ": "test_the_settings_satisfy_the_checks",
    "def start_if_there_is_room": "test_a_start_above_the_limit_says_so",
    'MAY_FETCH = "orders': "test_the_settings_satisfy_the_checks",
    "def may_fetch": "test_a_site_refuses_a_file",
    "Group.objects": "test_a_group_gets_the_permissions",
    "ESCAPE_FORMULAS = True": "test_formulas_are_escaped",
}


@pytest.fixture
def rights(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the module that the settings name."""
    module = types.ModuleType("orders.rights")
    monkeypatch.setitem(sys.modules, "orders", types.ModuleType("orders"))
    monkeypatch.setitem(sys.modules, "orders.rights", module)
    vars(module).update(executed(page.placed("def may_fetch")))


@pytest.mark.usefixtures("rights")
def test_the_settings_satisfy_the_checks(as_documented: Any, settings: Any) -> None:
    documented = as_documented()
    names = {name for name in documented if name.startswith("ASYNC_DOWNLOADS_")}
    assert len(names) >= 5
    assert problems(settings, documented, names, ignored={"W005", "W007"}) == []


@pytest.mark.django_db(transaction=True)
def test_a_start_above_the_limit_says_so(
    settings: Any, user: Any, rf: RequestFactory, quick_start: Any, page: Page
) -> None:
    settings.ASYNC_DOWNLOADS_MAX_ACTIVE = 1
    views = quick_start("orders.views", page.placed("def start_if_there_is_room"))
    request: Any = posted(rf, user)
    for _ in range(2):
        assert views.start_if_there_is_room(request).status_code == 302
    assert Download.objects.count() == 1
    (message,) = request._messages
    assert str(message).startswith("You have 1 download in progress.")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("name", "limit"), [("MAX_ROWS", 2), ("MAX_BYTES", 5)])
def test_a_file_above_a_limit_fails_and_leaves_nothing(
    settings: Any, user: Any, page: Page, name: str, limit: int
) -> None:
    assert f"`{name}`" in page.text
    setattr(settings, f"ASYNC_DOWNLOADS_{name}", limit)
    _, key = cache.init_download(user, "orders.csv")
    cache.save_download(key, [["R1"], ["R2"]], header=["Reference"])
    download = Download.objects.get()
    assert (download.state, download.url) == ("failed", "")
    assert "limit" in download.errors


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("rights")
def test_a_site_refuses_a_file(
    as_documented: Any, settings: Any, signed_in: Client, user: Any
) -> None:
    settings.ASYNC_DOWNLOADS_MAY_FETCH = as_documented()["ASYNC_DOWNLOADS_MAY_FETCH"]
    download = DownloadFactory(collection__user=user, complete=True)
    assert signed_in.get(download.url).status_code == 404
    user.is_superuser = True
    user.save()
    response = signed_in.get(download.url)
    assert response.status_code == 200
    response.close()


@pytest.mark.django_db
def test_a_group_gets_the_permissions(page: Page) -> None:
    (script,) = re.findall(r"shell -c '\n(.*)'\n", page.snippet("Group.objects"), re.DOTALL)
    executed(script)
    given = set(Group.objects.get().permissions.values_list("codename", flat=True))
    assert given == {"view_download", "change_download"}


@pytest.mark.django_db
def test_the_permissions_exist(page: Page) -> None:
    names = re.findall(r"^\| `(\w+)`", table(page.text, "| permission"), re.MULTILINE)
    assert len(names) == 5
    permissions = Permission.objects.filter(content_type__app_label="async_downloads")
    assert set(names) <= set(permissions.values_list("codename", flat=True))


@pytest.mark.django_db(transaction=True)
def test_formulas_are_escaped(as_documented: Any, settings: Any, user: Any, page: Page) -> None:
    assert 'the text `"-5"` as `\'-5`' in page.text
    documented = as_documented("ESCAPE_FORMULAS = True")
    settings.ASYNC_DOWNLOADS_ESCAPE_FORMULAS = documented["ASYNC_DOWNLOADS_ESCAPE_FORMULAS"]
    _, key = cache.init_download(user, "orders.csv")
    cache.save_download(key, [["=1+1", -5, "-5", "a;=b"]], header=["@total"])
    assert content(Download.objects.get()) == "'@total\n'=1+1,-5,'-5,a;'=b\n"


def test_each_setting_is_in_the_reference(page: Page) -> None:
    from async_downloads import settings

    names = set(re.findall(r"ASYNC_DOWNLOADS_(\w+)", page.text))
    assert names <= settings.DEFAULTS.keys()
