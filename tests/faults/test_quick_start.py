"""The README's quick start and the tutorial, followed word by word on new sites.

Each site is in a new virtual environment, and consists only of what the pages show.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from html.parser import HTMLParser
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.error import URLError

import django
import pytest
from websockets import Origin
from websockets.sync.client import connect

from tests.faults.client import LISTED, Client
from tests.faults.conftest import needs
from tests.faults.new_site import Reader, pack
from tests.faults.processes import Child, eventually, free_port
from tests.pace import LONGEST_WAIT
from tests.snippets import PAGES, QUICK_START, TUTORIAL, Block, Page

#: The address of the site on the pages.
ADDRESS = "http://127.0.0.1:8000"

WEBSOCKETS = "docs/how-to/websockets.md"

BUTTON = "Export the open orders"

#: The chapters of the tutorial that make the site, and those that change it while it runs.
SETTING_UP = (
    "Make a site",
    "Add the settings",
    "Add the models",
    "Write the task",
    "Start it from a page",
    "Fill the database",
    "Start the worker and the server",
)
BREAKING = ("See it fail", "Say what the person can do", "Make it quick")

#: The pages whose blocks go into the tutorial's site; tests/docs tests them one by one.
CONTINUING = sorted(
    path
    for path, page in PAGES.items()
    if page.continues == PAGES[TUTORIAL].blocks and any(block.in_the_site for block in page.blocks)
)

#: Blocks that are skipped, as they need packages that the tests do not install.
NOT_FOLLOWED: set[tuple[str, str]] = {
    ("docs/how-to/monitoring.md", "import Histogram"),
    ("docs/how-to/task-queues.md", "from rq import"),
}


def expected(orders: int) -> str:
    """Return the content of the file with this many orders of the pages."""
    rows = "".join(f"R{number},Ada,{number}.00\n" for number in range(orders))
    return f"Reference,Customer,Total\n{rows}"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages that the pages install, from this environment and this source."""
    folder = tmp_path_factory.mktemp("wheels")
    blocks = [*PAGES["README.md"].in_chapter(QUICK_START), *PAGES[TUTORIAL].blocks]
    blocks += [block for path in CONTINUING for block in PAGES[path].blocks]
    lines = [block.body for block in blocks if block.language == "console" and block.terminal]
    wanted = re.findall(r"^pip install (.*)$", "\n".join(lines), re.MULTILINE)
    pack({name.strip("\"'") for line in wanted for name in line.split()}, folder)
    return folder


@pytest.fixture(scope="module")
def quick_start(tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> Reader:
    """A reader who has followed the quick start, without its servers."""
    needs("proc")
    reader = Reader(tmp_path_factory.mktemp("quick-start"), free_port(), wheels)
    reader.follow(PAGES["README.md"].in_chapter(QUICK_START))
    return reader


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> Reader:
    """A reader who has followed the tutorial up to the start of the servers."""
    needs("proc")
    reader = Reader(tmp_path_factory.mktemp("tutorial"), free_port(), wheels)
    for chapter in SETTING_UP:
        reader.follow(PAGES[TUTORIAL].in_chapter(chapter))
    return reader


class Forms(HTMLParser):
    """The forms of a page: the action, the values, and the text of the button."""

    def __init__(self, page: str):
        super().__init__()
        self.forms: list[dict[str, Any]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "form":
            self.forms.append({"action": values.get("action"), "values": {}, "text": ""})
        elif self.forms and tag == "button":
            self.forms[-1]["text"] += values.get("aria-label") or ""
        elif self.forms and tag == "input":
            self.forms[-1]["text"] += values.get("value") or ""
            if name := values.get("name"):
                self.forms[-1]["values"][name] = values.get("value") or ""

    def handle_data(self, data: str) -> None:
        if self.forms:
            self.forms[-1]["text"] += data


def submit(person: Client, page: str, button: str, **values: str) -> str:
    """Press a button as a browser does, with the values of its form; return the next page."""
    (form,) = [form for form in Forms(page).forms if button in form["text"]]
    # Without the header, only the token in the form counts.
    answer = person.post(form["action"], form["values"] | values, X_CSRFToken="")
    assert answer.status == 200, answer.text
    return answer.text


class Running:
    """A site whose processes the blocks of a page start.

    Attributes:
        person: The client of the user who has signed in.
    """

    def __init__(self, reader: Reader, page: Page, blocks: list[Block]):
        self._reader = reader
        self._blocks = [block for block in blocks if block.terminal == "another"]
        assert self._blocks, f"{page.path} starts no process"
        self._children: list[Child] = []
        self._page = page
        self.person = Client(reader.read(ADDRESS))

    def start(self) -> None:
        """Start the processes, and sign in."""
        self._children = [self._reader.start(block) for block in self._blocks]
        page = eventually(self._home, why="a web server that answers")
        (name, password) = re.findall(r"sign in as `(\w+)` with `([\w-]+)`", self._page.text)[0]
        page = submit(self.person, page, "Log in", username=name, password=password)
        assert 'id="async-downloads"' in page

    @property
    def processed(self) -> list[str]:
        """The lines in the log of the worker about exports that have ended."""
        return self._children[self._index("qcluster")].lines("Processed '", "run_task")

    def change(self, chapter: str) -> None:
        """Follow a chapter that changes code, and restart the worker as it says.

        The web server restarts by itself.
        """
        index = self._index("qcluster")
        web = self._children[self._index("runserver")]
        starts = len(web.lines("Starting development server"))
        self._reader.follow(self._page.in_chapter(chapter))
        eventually(
            lambda: len(web.lines("Starting development server")) > starts,
            why="the web server to restart",
        )
        self._children[index].interrupt()
        self._children[index] = self._reader.start(self._blocks[index])
        eventually(self._home, why="the web server to answer again")

    def close(self) -> None:
        """Kill the processes."""
        for child in self._children:
            child.close()

    @property
    def logs(self) -> list[str]:
        """The last output of each process."""
        return [child.log[-5_000:] for child in self._children]

    def export(self) -> None:
        """Press the button that starts an export."""
        submit(self.person, self.person.get("/").text, BUTTON)

    def newest(self) -> dict[str, Any]:
        """Return the newest download of the list."""
        return dict(self.person.update()["downloads"][0])

    def ended(self) -> dict[str, Any]:
        """Wait until the newest download has ended, and return it."""

        def newest() -> Any:
            download = self.newest()
            return download["state"] in {"complete", "failed"} and download

        return dict(eventually(newest, why="the end of the newest download"))

    def fetched(self) -> str:
        """Wait for the newest download, and return its file."""
        download = self.ended()
        assert download["complete"], download
        answer = self.person.get(download["url"])
        assert answer.status == 200, answer.text
        return answer.text

    def menu(self) -> str:
        """Return the text of the menu."""
        html = self.person.update()["html"]
        return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())

    def _index(self, command: str) -> int:
        (index,) = [index for index, block in enumerate(self._blocks) if command in block.body]
        return index

    def _home(self) -> str:
        for child in self._children:
            assert child.alive, child.log
        try:
            answer = self.person.get("/", timeout=LONGEST_WAIT)
        except URLError:
            return ""
        assert answer.status == 200, answer.text
        return answer.text


@contextmanager
def started(reader: Reader, path: str, blocks: list[Block]) -> Iterator[Running]:
    """Run the processes that the blocks of a page start in other terminals."""
    running = Running(reader, PAGES[path], blocks)
    try:
        running.start()
        yield running
    except BaseException as error:
        for log in running.logs:
            error.add_note(log)
        raise
    finally:
        running.close()


def quotes(chapter: str) -> list[str]:
    """Return the quoted texts of a chapter of the tutorial."""
    body = PAGES[TUTORIAL].text.partition(f"\n## {chapter}\n")[2].partition("\n## ")[0]
    return re.findall(r"^> (.*)$", body, re.MULTILINE)


def test_the_quick_start_ends_with_a_file(quick_start: Reader) -> None:
    assert "no issues" in quick_start.type("python manage.py check")
    blocks = PAGES["README.md"].in_chapter(QUICK_START)
    with started(quick_start, "README.md", blocks) as site:
        site.export()
        assert site.fetched() == expected(100_000)


def test_the_tutorial_watches_cancels_and_fails(tutorial: Reader, tmp_path: Path) -> None:
    reader = tutorial.copy(tmp_path, free_port())
    page = PAGES[TUTORIAL]
    with started(reader, TUTORIAL, page.in_chapter(SETTING_UP[-1])) as site:
        watch(site)
        cancel(site, reader.folder / "media")
        for chapter, act in zip(BREAKING, (fail, explain, finish), strict=True):
            site.change(chapter)
            site.export()
            act(site, quotes(chapter))


def watch(site: Running) -> None:
    in_progress, rows = quotes("Watch it grow")
    site.export()
    seen = set()

    def grown() -> bool:
        seen.add(site.newest()["percentage"])
        return len(seen - {0, 100}) > 1

    eventually(grown, why="two steps of progress")
    assert in_progress in site.menu()
    assert site.fetched() == expected(600)
    assert rows in site.menu()


def cancel(site: Running, media: Path) -> None:
    files = {path for path in media.rglob("*") if path.is_file()}
    eventually(lambda: len(site.processed) == 1, why="the end of the first export")
    site.export()
    eventually(lambda: site.newest()["state"] == "running", why="the start of the second export")
    key = site.newest()["download_key"]
    submit(site.person, site.person.get("/").text, "Cancel Open orders")
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


@pytest.fixture(scope="module")
def finished_tutorial(tmp_path_factory: pytest.TempPathFactory, tutorial: Reader) -> Reader:
    """A reader who has followed all of the tutorial."""
    reader = tutorial.copy(tmp_path_factory.mktemp("finished"), free_port())
    for chapter in BREAKING:
        reader.follow(PAGES[TUTORIAL].in_chapter(chapter))
    return reader


def test_the_websocket_page_pushes_until_the_file_is_there(
    finished_tutorial: Reader, tmp_path: Path
) -> None:
    needs("redis")
    reader = finished_tutorial.copy(tmp_path, free_port())
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
                states += [state for _, state in LISTED.findall(str(connection.recv(LONGEST_WAIT)))]
        assert site.fetched() == expected(100_000)


@pytest.mark.parametrize("path", CONTINUING)
def test_the_blocks_of_a_page_fit_into_the_site(
    finished_tutorial: Reader, tmp_path: Path, path: str
) -> None:
    reader = finished_tutorial.copy(tmp_path, free_port())
    for chapter in chapters(PAGES[path]):
        modules: set[str] = set()
        for block in chapter:
            reader.follow(block for block in block.after if block not in PAGES[TUTORIAL].blocks)
            name = block.file.removesuffix(".py").replace("/", ".")
            if name in modules:
                # The block replaces an alternative, which has to work as well.
                reader.type(f"python manage.py shell -c 'import {name}'")
            reader.follow([block])
            if block.in_the_site and block.file.endswith(".py"):
                modules.add(name.removesuffix(".__init__"))
        assert "no issues" in reader.type("python manage.py check")
        if modules:
            reader.type(f"python manage.py shell -c 'import {', '.join(sorted(modules))}'")


def chapters(page: Page) -> list[list[Block]]:
    """Return the blocks of each chapter that this environment can follow."""
    followed = [
        block
        for block in page.blocks
        if not any(block.page == path and text in block.body for path, text in NOT_FOLLOWED)
        and required_django(block) <= django.VERSION
    ]
    return [list(group) for _, group in groupby(followed, lambda block: block.chapter)]


def required_django(block: Block) -> tuple[int, ...]:
    """Return the version of Django that a block requires, from the line above it."""
    match = re.search(r"on Django (\d+)\.(\d+) or newer", block.above)
    return tuple(map(int, match.groups())) if match else ()
