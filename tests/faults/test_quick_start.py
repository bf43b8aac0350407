"""The README, followed word by word on a new site, in a new environment.

Nothing here is a line of the site: what it is made of, and how it is started, is in the README.
"""

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
from websockets import Origin
from websockets.sync.client import connect

from tests.faults.client import SHOWN, Client
from tests.faults.conftest import needs
from tests.faults.new_site import Reader, pack
from tests.faults.processes import Child, eventually
from tests.pace import PATIENCE
from tests.snippets import BLOCKS, README, in_chapter

#: Where the README says that the site is.
ADDRESS = "http://127.0.0.1:8000"

#: The file that the quick start's orders make.
EXPECTED = "Reference,Customer,Total\n" + "".join(
    f"R{number},Ada,{number}.00\n" for number in range(100_000)
)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the README has its readers install, from this environment and this source."""
    folder = tmp_path_factory.mktemp("wheels")
    lines = [block.body for block in BLOCKS if block.language == "console"]
    wanted = re.findall(r"^pip install (.*)$", "\n".join(lines), re.MULTILINE)
    pack({name.strip('"') for line in wanted for name in line.split() if "&&" not in line}, folder)
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> Reader:
    """A reader who has done all of the quick start, up to what runs in terminals of its own."""
    needs("proc")
    reader = Reader(tmp_path_factory.mktemp("reader"), free_port(), wheels)
    reader.follow(in_chapter("Quick start"))
    return reader


class Forms(HTMLParser):
    """The forms of a page: where each leads, what it holds, and the text of its button."""

    def __init__(self, page: str):
        super().__init__()
        self.found: list[dict[str, Any]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        if tag == "form":
            self.found.append({"action": said.get("action"), "values": {}, "text": ""})
        elif tag == "input" and self.found:
            self.found[-1]["text"] += said.get("value") or ""
            if name := said.get("name"):
                self.found[-1]["values"][name] = said.get("value") or ""

    def handle_data(self, data: str) -> None:
        if self.found:
            self.found[-1]["text"] += data


def submit(person: Client, page: str, button: str, **values: str) -> str:
    """Press a button as a browser does, with what its form holds; return the page that follows."""
    (form,) = [form for form in Forms(page).found if button in form["text"]]
    # No header: a form without its token is refused.
    answer = person.post(form["action"], form["values"] | values, X_CSRFToken="")
    assert answer.status == 200, answer.text
    return answer.text


@contextmanager
def started(reader: Reader) -> Iterator[Client]:
    """Run what the quick start has in terminals of its own; gives a person who has signed in."""
    blocks = [block for block in in_chapter("Quick start") if block.terminal == "another"]
    with ExitStack() as stack:
        children = [stack.enter_context(reader.start(block)) for block in blocks]
        person = Client(reader.read(ADDRESS))
        page = eventually(lambda: home(person, children), why="a web server that answers")
        (name, password) = re.findall(r"sign in as `(\w+)` with `([\w-]+)`", README)[0]
        page = submit(person, page, "Log in", username=name, password=password)
        assert 'id="async-downloads"' in page
        try:
            yield person
        except BaseException as error:
            for child in children:
                error.add_note(child.log)
            raise


def home(person: Client, children: list[Child]) -> str:
    """Return the site's first page; an empty text if no server answers yet."""
    for child in children:
        assert child.alive, child.log
    try:
        answer = person.get("/", timeout=PATIENCE)
    except URLError:
        return ""
    assert answer.status == 200, answer.text
    return answer.text


def fetched(person: Client) -> str:
    """Wait for the newest download, and return its file."""

    def finished() -> Any:
        newest = person.update()["downloads"][0]
        assert not newest["errors"], newest
        return newest["complete"] and newest

    answer = person.get(eventually(finished, why="a complete file")["url"])
    assert answer.status == 200, answer.text
    return answer.text


def test_the_quick_start_ends_with_a_file(site: Reader) -> None:
    assert "no issues" in site.type("python manage.py check")
    with started(site) as person:
        submit(person, person.get("/").text, "Export the open orders")
        assert fetched(person) == EXPECTED


def test_the_websocket_chapter_pushes_until_the_file_is_there(site: Reader, tmp_path: Path) -> None:
    needs("redis")
    reader = site.copy(tmp_path, free_port())
    reader.follow(in_chapter("Websockets"))
    assert "no issues" in reader.type("python manage.py check")
    with started(reader) as person:
        page = person.get("/").text
        (path,) = re.findall(r'ws-connect="([^"]+)"', page)
        with connect(
            person.address.replace("http", "ws") + unescape(path),
            additional_headers={"Cookie": f"sessionid={person.cookie('sessionid')}"},
            origin=Origin(person.address),
        ) as connection:
            submit(person, page, "Export the open orders")
            states = []
            while "complete" not in states:
                states += [state for _, state in SHOWN.findall(str(connection.recv(PATIENCE)))]
        assert fetched(person) == EXPECTED


#: Those whose files go into a site; what each does there is tried in tests/test_readme.py.
CHAPTERS = sorted(
    {block.chapter for block in BLOCKS if block.file and not block.file.startswith("/")}
    - {"Quick start", "Websockets"}
)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_files_of_a_chapter_fit_into_the_site(
    site: Reader, tmp_path: Path, chapter: str
) -> None:
    reader = site.copy(tmp_path, free_port())
    blocks = in_chapter(chapter)
    for block in blocks:
        for other in set(block.after) - {"Quick start"}:
            reader.follow(in_chapter(other))
        reader.follow([block])
    python = {block.file for block in blocks if block.file.endswith(".py")}
    names = ", ".join(sorted(path.removesuffix(".py").replace("/", ".") for path in python))
    assert "no issues" in reader.type("python manage.py check")
    if names:
        reader.type(f"python manage.py shell -c 'import {names}'")
