"""Sites of readers who have followed the documentation, and the processes that these start."""

import fcntl
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.error import URLError

from tests.faults.client import Client
from tests.faults.new_site import Reader, pack
from tests.faults.processes import Child, eventually, free_port
from tests.pace import LONGEST_WAIT
from tests.snippets import PAGES, QUICK_START, TUTORIAL, Block, Page

__all__ = [
    "BREAKING",
    "BUTTON",
    "CONTINUING",
    "SETTING_UP",
    "Forms",
    "Readers",
    "Running",
    "expected",
    "started",
    "submit",
]

#: The address of the site on the pages.
ADDRESS = "http://127.0.0.1:8000"

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


def expected(orders: int) -> str:
    """Return the content of the file with this many orders of the pages."""
    rows = "".join(f"R{number},Ada,{number}.00\n" for number in range(orders))
    return f"Reference,Customer,Total\n{rows}"


class Readers:
    """Readers of pages. Each is made once for all processes of the tests, as installing takes long.

    Args:
        root: A folder that the processes share.
    """

    def __init__(self, root: Path):
        self._root = root

    def quick_start(self) -> Reader:
        """Return a reader who has followed the quick start, without its servers."""

        def follow(reader: Reader) -> None:
            reader.follow(PAGES["README.md"].in_chapter(QUICK_START))

        return self._reader("quick-start", self._new, follow)

    def tutorial(self) -> Reader:
        """Return a reader who has followed the tutorial up to the start of the servers."""
        return self._reader(
            "tutorial", self._new, lambda reader: follow_tutorial(reader, SETTING_UP)
        )

    def finished_tutorial(self) -> Reader:
        """Return a reader who has followed all of the tutorial."""

        def copy(folder: Path) -> Reader:
            return self.tutorial().copy(folder, free_port())

        return self._reader("finished", copy, lambda reader: follow_tutorial(reader, BREAKING))

    def _new(self, folder: Path) -> Reader:
        return Reader(folder, free_port(), self._wheels())

    def _reader(
        self, name: str, make: Callable[[Path], Reader], follow: Callable[[Reader], None]
    ) -> Reader:
        def save(folder: Path) -> None:
            reader = make(folder)
            follow(reader)
            reader.save()

        return Reader.saved(self._once(name, save))

    def _wheels(self) -> Path:
        """Return the packages that the pages install, from this environment and this source."""
        blocks = [*PAGES["README.md"].in_chapter(QUICK_START), *PAGES[TUTORIAL].blocks]
        blocks += [block for path in CONTINUING for block in PAGES[path].blocks]
        lines = [block.body for block in blocks if block.language == "console" and block.terminal]
        wanted = re.findall(r"^pip install (.*)$", "\n".join(lines), re.MULTILINE)
        names = {name.strip("\"'") for line in wanted for name in line.split()}
        return self._once("wheels", lambda folder: pack(names, folder))

    def _once(self, name: str, fill: Callable[[Path], None]) -> Path:
        """Fill a folder, unless another process has done that; wait for one that is doing it."""
        folder, done = self._root / name, self._root / f"{name}.done"
        with (self._root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                # Another process may have failed.
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                fill(folder)
                done.touch()
        return folder


def follow_tutorial(reader: Reader, chapters: Iterable[str]) -> None:
    """Follow chapters of the tutorial."""
    for chapter in chapters:
        reader.follow(PAGES[TUTORIAL].in_chapter(chapter))


class Forms(HTMLParser):
    """What the buttons of a page send: the action, the values, and the text of the button."""

    def __init__(self, page: str):
        super().__init__()
        self.forms: list[dict[str, Any]] = []
        self._action: str | None = None
        self._values: dict[str, str] = {}
        self._is_in_button = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._action, self._values = values.get("action"), {}
        own = {values["name"]: values.get("value", "")} if values.get("name") else {}
        if tag == "button" or (tag, values.get("type")) == ("input", "submit"):
            self._is_in_button = tag == "button"
            text = values.get("aria-label" if tag == "button" else "value", "")
            action = values.get("formaction") or self._action
            self.forms.append({"action": action, "values": self._values | own, "text": text})
        elif tag == "input":
            self._values |= own

    def handle_endtag(self, tag: str) -> None:
        self._is_in_button = self._is_in_button and tag != "button"

    def handle_data(self, data: str) -> None:
        if self._is_in_button:
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
