"""Steps about who gets a file, and for how long: of a team, and with a lifetime of its own."""

from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final

from django.urls import reverse

from demo.checks.person import Person
from demo.checks.steps import Entry, Log, expect, wait_until
from demo.servers.supervisor import Supervisor

__all__ = ["check_lifetime", "check_team"]

DAY: Final = timedelta(days=1)

#: How long the file of the card stays: at first, and after each press of "Keep for longer".
LIFETIMES: Final = (3 * DAY, 6 * DAY, 7 * DAY)


def check_team(
    servers: Supervisor, log: Log, leader: Person, colleague: Person, other: Person
) -> None:
    """Let the leader of a team export for it; a colleague fetches the file, and no other person."""
    with log.step(f"{leader.username} exports for the team, and {colleague.username} fetches it"):
        key = leader.start("open-orders")
        entry = _complete(servers, colleague, key)
        expect(entry["team"] == "Sales", f"its team is {entry['team']!r}")
        expect("Sales" in colleague.list_html(), "the list does not name the team")
        status = colleague.client.get(entry["url"]).status
        expect(status == HTTPStatus.OK, f"the file answers with {status}")
    with log.step(f"{other.username}, who is not in the team, gets 404"):
        expect(key not in other.downloads(), "it is in the list")
        for url in (entry["url"], entry["detail_url"]):
            status = other.client.get(url).status
            expect(status == HTTPStatus.NOT_FOUND, f"{url} answers with {status}")
        form = other.home().form(action=reverse("start_export", args=["product-list"]))
        form.action = reverse("start_export", args=["open-orders"])
        status = other.submit(form, choice="csv").status
        expect(status == HTTPStatus.NOT_FOUND, f"the export answers with {status}")
    with log.step(f"{colleague.username} cannot clear it, and {leader.username} can"):
        clear = reverse("async_downloads:ajax_clear_download")
        form = colleague.all_downloads().form(action=clear)
        expect(not form.pressed(key), "the page has a button for it")
        status = colleague.submit(form, download_key=key).status
        expect(status == HTTPStatus.FORBIDDEN, f"clearing it answers with {status}")
        leader.clear(key)
        expect(key not in colleague.downloads(), "it is still in the list of the team")


def check_lifetime(servers: Supervisor, log: Log, person: Person) -> None:
    """Let a person keep a file for longer, up to the limit of the shop."""
    with log.step("“Keep for longer” moves the day in the list, up to a week") as details:
        key = person.start("product-list")
        entry = _complete(servers, person, key)
        ended = datetime.fromisoformat(entry["expires_at"]) - LIFETIMES[0]
        for lifetime in LIFETIMES:
            entry = person.download(key)
            kept = datetime.fromisoformat(entry["expires_at"]) - ended
            expect(abs(kept - lifetime) < timedelta(seconds=1), f"it is kept for {kept}")
            expect(entry["until_text"] not in details, f"it still says {entry['until_text']}")
            details.append(entry["until_text"])
            if lifetime < LIFETIMES[-1]:
                person.keep(key)
        expect(not entry["can_keep"], "it can be kept for more than a week")
        person.clear(key)


def _complete(servers: Supervisor, person: Person, key: str) -> Entry:
    """Poll a download as a person sees it until it is complete, and return it."""
    wait_until(servers, lambda: bool(person.download(key)["complete"]), "it does not get there")
    return person.download(key)
