"""docs/how-to/share-with-a-team.md."""

import re
import sys
import types
from typing import Any

import pytest
from django.contrib.auth.models import Group

from async_downloads import intervals, teams
from async_downloads.models import Download
from tests import queues
from tests.docs.helpers import executed, problems
from tests.factories import OrderFactory, UserFactory
from tests.snippets import PAGES, Page
from tests.staff import client_of

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]

PAGE = "docs/how-to/share-with-a-team.md"

COVERED = {
    "def start_team_report": "test_the_report_reaches_each_member",
    "def teams_of": "test_the_report_reaches_each_member",
    "ASYNC_DOWNLOADS_MEMBERS = ": "test_the_settings_satisfy_the_checks",
    "Team leads": "test_team_leads_may_clear",
}

UPDATE = "/async_downloads/ajax_update/"


@pytest.fixture
def site(page: Page, settings: Any, quick_start: Any) -> Any:
    """Install the modules of the page, and return that of the reports."""
    quick_start("orders.members", page.placed("def teams_of"))
    for name, value in executed(page.snippet("ASYNC_DOWNLOADS_MEMBERS = ")).items():
        if name.isupper():
            setattr(settings, name, value)
    return quick_start("orders.team_reports", page.placed("def start_team_report"))


def test_the_settings_satisfy_the_checks(
    as_documented: Any, settings: Any, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    documented = as_documented()
    module = types.ModuleType("orders.members")
    monkeypatch.setitem(sys.modules, "orders", types.ModuleType("orders"))
    monkeypatch.setitem(sys.modules, "orders.members", module)
    vars(module).update(executed(page.placed("def teams_of")))
    names = {"ASYNC_DOWNLOADS_MEMBERS"}
    assert problems(settings, documented, names, ignored={"W005", "W007"}) == []


def test_the_report_reaches_each_member(site: Any, page: Page) -> None:
    OrderFactory(status="open", reference="R1")
    sales = Group.objects.create(name="Sales")
    members = [UserFactory(), UserFactory()]
    sales.user_set.set(members)
    site.start_team_report("Sales")
    queues.run_waiting()
    assert Download.objects.get().collection.label == f"auth.group:{sales.pk}"
    for person in members:
        client = client_of(person)
        text = client.get(UPDATE, headers={"HX-Request": "true"}).text
        assert "Team: <bdi>Sales</bdi>" in text
        (listed,) = client.get(UPDATE).json()["downloads"]
        assert (listed["team"], listed["can_clear"]) == ("Sales", False)
        assert b"R1" in b"".join(client.get(listed["url"]))
        assert client.post(listed["clear_url"] or clear(listed)).status_code == 403
    assert client_of(UserFactory()).get(UPDATE).json()["total"] == 0
    sales.user_set.remove(members[0])
    assert client_of(members[0]).get(Download.objects.get().url).status_code == 404


def clear(listed: Any) -> str:
    return f"/async_downloads/ajax_clear_download/?download_key={listed['download_key']}"


def test_team_leads_may_clear(site: Any, page: Page) -> None:
    (script,) = re.findall(r"shell -c '\n(.*)'\n", page.snippet("Team leads"), re.DOTALL)
    executed(script)
    lead = UserFactory()
    sales = Group.objects.create(name="Sales")
    lead.groups.set([sales, Group.objects.get(name="Team leads")])
    site.start_team_report("Sales")
    (listed,) = client_of(lead).get(UPDATE).json()["downloads"]
    assert listed["can_clear"]
    assert client_of(lead).post(listed["clear_url"]).status_code == 200
    assert not Download.objects.exists()


def test_the_numbers_are_those_of_the_code() -> None:
    text = PAGES[PAGE].text
    assert f"A person can be in {teams.MAX_TEAMS} teams" in text
    assert f"at least every {intervals.SESSION_IDLE // 60} minutes" in text
    assert teams.PERMISSION in text
