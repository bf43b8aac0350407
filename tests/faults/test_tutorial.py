"""The tutorial and the page on websockets, followed word by word on new sites."""

import re
from html import unescape
from pathlib import Path
from typing import Any

from websockets import Origin
from websockets.sync.client import connect

from tests.faults.conftest import needs
from tests.faults.followed import (
    BREAKING,
    BUTTON,
    SETTING_UP,
    Forms,
    Readers,
    Running,
    expected,
    started,
    submit,
)
from tests.faults.processes import eventually, free_port
from tests.pace import LONGEST_WAIT
from tests.snippets import PAGES, TUTORIAL

WEBSOCKETS = "docs/how-to/websockets.md"


#: The page of all downloads, whose buttons need no script.
LIST = "/async_downloads/list/"


def quotes(chapter: str) -> list[str]:
    """Return the quoted texts of a chapter of the tutorial."""
    body = PAGES[TUTORIAL].text.partition(f"\n## {chapter}\n")[2].partition("\n## ")[0]
    return re.findall(r"^> (.*)$", body, re.MULTILINE)


def test_the_tutorial_watches_cancels_and_fails(readers: Readers, tmp_path: Path) -> None:
    reader = readers.tutorial().copy(tmp_path, free_port())
    page = PAGES[TUTORIAL]
    with started(reader, TUTORIAL, page.in_chapter(SETTING_UP[-1])) as site:
        watch(site)
        cancel(site, reader.folder / "media")
        for chapter, act in zip(BREAKING, (fail, explain, finish), strict=True):
            site.change(chapter)
            site.export()
            act(site, quotes(chapter))


def watch(site: Running) -> None:
    percentage, rows = quotes("Watch it grow")
    site.export()
    seen = set()

    def grown() -> bool:
        seen.add(site.newest()["percentage"])
        return len(seen - {0, 100}) > 1

    eventually(grown, why="two steps of progress")
    assert re.search(re.escape(percentage).replace("10", r"\d+"), site.menu())
    assert site.fetched() == expected(600)
    assert rows in site.menu()


def cancel(site: Running, media: Path) -> None:
    files = {path for path in media.rglob("*") if path.is_file()}
    eventually(lambda: len(site.processed) == 1, why="the end of the first export")
    site.export()
    eventually(lambda: site.newest()["state"] == "running", why="the start of the second export")
    key = site.newest()["download_key"]
    submit(site.person, site.person.get(LIST).text, "Cancel Open orders")
    assert key not in site.person.listed()
    eventually(lambda: len(site.processed) == 2, why="the end of the second export")
    assert {path for path in media.rglob("*") if path.is_file()} == files


def fail(site: Running, quoted: list[str]) -> None:
    for_owner, for_staff = quoted
    download = site.ended()
    assert download["state"] == "failed"
    assert for_owner in site.menu()
    assert for_staff not in site.menu()
    listed = site.person.get("/admin/async_downloads/download/").text
    (link,) = re.findall(rf'href="([^"]*{download["download_key"]}/change/[^"]*)"', listed)
    assert for_staff in unescape(site.person.get(unescape(link)).text)


def explain(site: Running, quoted: list[str]) -> None:
    (for_owner,) = quoted
    assert site.ended()["state"] == "failed"
    assert for_owner in site.menu()


def finish(site: Running, quoted: list[str]) -> None:
    (rows,) = quoted
    assert site.fetched() == expected(100_000)
    assert rows in site.menu()
    try_again(site)


def try_again(site: Running) -> None:
    forms = Forms(site.person.get(LIST).text).forms
    first, second = (form for form in forms if "Try again" in form["text"])
    assert first["values"]["download_key"] != second["values"]["download_key"]
    # Without the header, only the token in the form counts.
    answer = site.person.post(first["action"], first["values"], X_CSRFToken="")
    assert answer.status == 200, answer.text

    def ended() -> Any:
        (download,) = [
            item
            for item in site.person.update()["downloads"]
            if item["download_key"] == first["values"]["download_key"]
        ]
        return download["state"] in {"complete", "failed"} and download

    assert eventually(ended, why="the end of the second attempt")["complete"]


def test_the_websocket_page_pushes_until_the_file_is_there(
    readers: Readers, tmp_path: Path
) -> None:
    needs("redis")
    reader = readers.finished_tutorial().copy(tmp_path, free_port())
    reader.follow(PAGES[WEBSOCKETS].in_chapter("Set it up"))
    assert "no issues" in reader.type("python manage.py check")
    with started(reader, TUTORIAL, PAGES[TUTORIAL].in_chapter(SETTING_UP[-1])) as site:
        page = site.person.get("/").text
        (path,) = re.findall(r'ws-connect="([^"]+)"', page)
        with connect(
            site.person.address.replace("http", "ws") + unescape(path),
            additional_headers={"Cookie": f"sessionid={site.person.cookie('sessionid')}"},
            origin=Origin(site.person.address),
        ) as connection:
            submit(site.person, page, BUTTON)
            states: list[str] = []
            while "complete" not in states:
                states += re.findall(r'data-state="([\w-]+)"', str(connection.recv(LONGEST_WAIT)))
        assert site.fetched() == expected(100_000)
