"""One interface over Chromium, Firefox and WebKit.

Chromium is driven by Playwright, Firefox by WebDriver BiDi, which it speaks itself, and WebKit by
the classic WebDriver of WebKitGTK, on a virtual screen. Keys and pointer are those of the
browser, not events made by a script. ::

    engine.resize(360, 800)
    engine.prefer(scheme="dark")
    engine.sign_in(url, session)
    engine.open(url)
    engine.click(".async-downloads-button")
    engine.wait_for("() => document.querySelector('.download-name')")

Scripts are JavaScript functions, as text. What they return is read as JSON; a promise is awaited.
"""

import base64
import json
import os
import re
import subprocess
import time
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self
from urllib.error import HTTPError
from urllib.parse import urlsplit

from django.conf import settings
from playwright.sync_api import Browser, Download, Error, Page, ViewportSize
from websockets.sync.client import connect

from tests import pace, services
from tests.faults.processes import eventually, free_port

__all__ = ["ENGINES", "Chromium", "Engine", "Firefox", "ScriptError", "WebKit"]

#: Keys by their names, as WebDriver encodes them.
KEYS: Final = {
    "Tab": "\ue004",
    "Enter": "\ue007",
    "Shift": "\ue008",
    "Escape": "\ue00c",
}

#: Seconds after which a browser that does not answer fails the test.
ANSWER_SECONDS: Final = 60.0

#: Calls a function until it returns something true, but not for ever: a new page would end it.
WAIT: Final = """async (...parameters) => {
    const condition = %s;
    const end = performance.now() + 1000;
    for (;;) {
        const answer = await condition(...parameters);
        if (answer || performance.now() > end) return answer;
        await new Promise((next) => setTimeout(next, 20));
    }
}"""

#: Scrolls to an element as far as necessary, and returns where to click it.
CENTRE: Final = """(selector) => {
    const element = document.querySelector(selector);
    if (!element) throw new Error(`nothing matches ${selector}`);
    element.scrollIntoView({block: "nearest", inline: "nearest", behavior: "instant"});
    const box = element.getBoundingClientRect();
    const [x, y] = [Math.round(box.x + box.width / 2), Math.round(box.y + box.height / 2)];
    const hit = document.elementFromPoint(x, y);
    if (!element.contains(hit)) throw new Error(`it is at ${x}, ${y}: ${hit?.outerHTML}`);
    return [x, y];
}"""

#: Ends when the page has been painted.
PAINTED: Final = """() => new Promise(
    (end) => requestAnimationFrame(() => requestAnimationFrame(() => end(true)))
)"""


class ScriptError(Exception):
    """A script has failed, or its page is gone."""


class Engine(ABC):
    """A browser with one page.

    Attributes:
        name: Its short name, as in ``TESTS_REQUIRE``.
        folder: The folder for what it needs, with its downloads in ``downloads``.
    """

    name: str

    def __init__(self, folder: Path):
        self.folder = folder
        self.downloads = folder / "downloads"
        self.downloads.mkdir(parents=True)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @abstractmethod
    def _start(self) -> None:
        """Start the browser; closing ``self._stack`` ends it."""

    @abstractmethod
    def open(self, url: str) -> None:
        """Open a page, and wait until it is loaded."""

    def leave(self) -> None:
        """Leave the page, so that it asks for nothing more."""
        self.open("about:blank")

    @abstractmethod
    def back(self) -> None:
        """Return to the page before, in the history of the browser."""

    @abstractmethod
    def sign_in(self, url: str, session: str) -> None:
        """Give the site at an address the cookie of a session, and no others."""

    @abstractmethod
    def resize(self, width: int, height: int) -> None:
        """Set the size of the viewport, in CSS pixels: of a zoomed page, there are fewer."""

    @abstractmethod
    def prefer(self, *, scheme: str = "light", motion: bool = True, forced: bool = False) -> None:
        """Set what the person prefers, before a page is opened.

        Args:
            scheme: ``light`` or ``dark``.
            motion: Whether things may move.
            forced: Whether the person's colours replace those of the page.
        """

    @abstractmethod
    def screenshot(self, path: Path) -> None:
        """Save a picture of what is on screen."""

    @abstractmethod
    def _evaluate(self, expression: str, seconds: float) -> str:
        """Return the text that an expression's promise is fulfilled with.

        Firefox never says that another page has ended the promise: it is given up in ``seconds``.
        """

    @abstractmethod
    def _perform(self, source: dict[str, Any]) -> None:
        """Perform WebDriver's actions of one input device."""

    def evaluate(self, function: str, *arguments: Any, seconds: float = ANSWER_SECONDS) -> Any:
        """Call a function in the page, and return its result."""
        parameters = ", ".join(map(json.dumps, arguments))
        return json.loads(
            self._evaluate(
                f"(async () => JSON.stringify(await ({function})({parameters}) ?? null))()", seconds
            )
        )

    def wait_for(self, condition: str, *arguments: Any) -> Any:
        """Wait until a function in the page returns something true, and return that."""
        deadline = time.monotonic() + pace.stretched(30)
        answer: Any = None
        while time.monotonic() < deadline:
            try:
                answer = self.evaluate(WAIT % condition, *arguments, seconds=10)
            except ScriptError as error:
                # Perhaps another page is being opened.
                answer = error
            else:
                if answer:
                    return answer
        raise AssertionError(
            f"{self.name}: never {condition} {arguments}; the last answer: {answer!r}; the page:\n"
            + self.evaluate("() => document.body.innerText")
        )

    def painted(self) -> None:
        """Wait until the page has handled and painted what has just happened."""
        self.evaluate(PAINTED)

    def press(self, *keys: str) -> None:
        """Press keys, one after the other; ``Shift+Tab`` holds the first."""
        for key in keys:
            held = [KEYS.get(part, part) for part in key.split("+")]
            down = [{"type": "keyDown", "value": value} for value in held]
            up = [{"type": "keyUp", "value": value} for value in reversed(held)]
            self._perform({"type": "key", "id": "keyboard", "actions": [*down, *up]})

    def move(self, selector: str) -> None:
        """Move the pointer over the first element that matches."""
        # Until nothing covers it, not even for the moment of a swap.
        x, y = self.wait_for(CENTRE, selector)
        self.move_to(x, y)

    def move_to(self, x: int, y: int) -> None:
        """Move the pointer to a place of the page."""
        self._pointer({"type": "pointerMove", "x": x, "y": y, "duration": 0})

    def click(self, selector: str) -> None:
        """Click the first element that matches, as soon as nothing covers it."""
        self.move(selector)
        self.hold()
        self.release()

    def hold(self) -> None:
        """Press the pointer's button where the pointer is."""
        self._pointer({"type": "pointerDown", "button": 0})

    def release(self) -> None:
        """Release the pointer's button."""
        self._pointer({"type": "pointerUp", "button": 0})

    def _pointer(self, action: dict[str, Any]) -> None:
        kind = {"pointerType": "mouse"}
        self._perform({"type": "pointer", "id": "mouse", "parameters": kind, "actions": [action]})

    def downloaded(self, name: str) -> bytes:
        """Wait for a file that the browser saves, and return its content."""
        path = self.downloads / name

        def complete() -> bool:
            # Playwright saves the file during a call.
            self.evaluate("() => true")
            # Firefox makes an empty file, and the whole one beside it.
            others = [other for other in self.downloads.iterdir() if other != path]
            return path.is_file() and path.stat().st_size > 0 and not others

        eventually(complete, why=f"{self.name} has saved {name}")
        content = path.read_bytes()
        path.unlink()
        return content


class Chromium(Engine):
    """Chromium by Playwright, whose browser the tests share."""

    name = "chromium"

    def __init__(self, folder: Path, browser: Browser):
        super().__init__(folder)
        self._browser = browser
        self._page: Page

    def _start(self) -> None:
        context = self._stack.enter_context(self._browser.new_context())
        context.set_default_timeout(pace.stretched(ANSWER_SECONDS) * 1000)
        self._page = context.new_page()
        self._page.on("download", self._save)

    def _save(self, download: Download) -> None:
        download.save_as(self.downloads / download.suggested_filename)

    def open(self, url: str) -> None:
        self._page.goto(url)

    def back(self) -> None:
        self._page.go_back()

    def sign_in(self, url: str, session: str) -> None:
        self._page.context.clear_cookies()
        cookie = {"name": settings.SESSION_COOKIE_NAME, "value": session, "url": url}
        self._page.context.add_cookies([cookie])  # type: ignore[list-item]

    def resize(self, width: int, height: int) -> None:
        self._page.set_viewport_size(ViewportSize(width=width, height=height))

    def prefer(self, *, scheme: str = "light", motion: bool = True, forced: bool = False) -> None:
        self._page.emulate_media(
            color_scheme="dark" if scheme == "dark" else "light",
            reduced_motion="no-preference" if motion else "reduce",
            forced_colors="active" if forced else "none",
        )

    def screenshot(self, path: Path) -> None:
        self._page.screenshot(path=path)

    def _evaluate(self, expression: str, seconds: float) -> str:
        try:
            return str(self._page.evaluate(expression))
        except Error as error:
            raise ScriptError(str(error)) from error

    def _perform(self, source: dict[str, Any]) -> None:
        keyboard, mouse = self._page.keyboard, self._page.mouse
        names = {value: name for name, value in KEYS.items()}
        for action in source["actions"]:
            match action:
                case {"type": "keyDown", "value": value}:
                    keyboard.down(names.get(value, value))
                case {"type": "keyUp", "value": value}:
                    keyboard.up(names.get(value, value))
                case {"type": "pointerMove", "x": x, "y": y}:
                    mouse.move(x, y)
                case {"type": "pointerDown"}:
                    mouse.down()
                case {"type": "pointerUp"}:
                    mouse.up()


class Firefox(Engine):
    """Firefox by WebDriver BiDi, without a screen."""

    name = "firefox"

    #: Preferences from the start.
    PREFERENCES: Final = {
        "browser.download.alwaysOpenPanel": False,
        "browser.download.folderList": 2,
        "browser.shell.checkDefaultBrowser": False,
        # It asks no server for anything.
        "network.captive-portal-service.enabled": False,
        "network.connectivity-service.enabled": False,
        "remote.active-protocols": 1,
    }

    def _start(self) -> None:
        profile = self.folder / "profile"
        profile.mkdir()
        preferences = self.PREFERENCES | {"browser.download.dir": str(self.downloads)}
        lines = [f"user_pref({json.dumps(k)}, {json.dumps(v)});" for k, v in preferences.items()]
        (profile / "user.js").write_text("\n".join(lines))
        program = services.firefox()
        assert program is not None
        log = self.folder / "firefox.log"
        arguments = (
            *(program, "--headless", "--no-remote", "--profile", str(profile)),
            *("--remote-debugging-port", "0", "--remote-allow-system-access", "about:blank"),
        )
        self._stack.enter_context(started(*arguments, log=log))
        address = printed(r"BiDi listening on (ws://\S+)", log)
        self._socket = self._stack.enter_context(
            connect(f"{address}/session", max_size=None, proxy=None)
        )
        self._calls = 0
        self._call("session.new", capabilities={})
        # It ends by itself, with all of its processes.
        self._stack.callback(lambda: self._call("browser.close"))
        self._page = self._call("browsingContext.getTree")["contexts"][0]["context"]
        chrome = self._call("browsingContext.getTree", **{"moz:scope": "chrome"})
        self._window = chrome["contexts"][0]["context"]
        self._focus()

    def _call(self, method: str, *, seconds: float = ANSWER_SECONDS, **parameters: Any) -> Any:
        self._calls += 1
        call = {"id": self._calls, "method": method, "params": parameters}
        self._socket.send(json.dumps(call))
        while True:
            try:
                answer = json.loads(self._socket.recv(timeout=pace.stretched(seconds)))
            except TimeoutError as error:
                raise ScriptError(f"{method}: no answer") from error
            if answer.get("id") != self._calls:
                continue
            if answer["type"] == "error":
                raise ScriptError(f"{method}: {answer['error']}: {answer['message']}")
            return answer["result"]

    def _run(self, expression: str, context: str, seconds: float = ANSWER_SECONDS) -> Any:
        answer = self._call(
            "script.evaluate",
            seconds=seconds,
            expression=expression,
            target={"context": context},
            awaitPromise=True,
            userActivation=False,
        )
        if answer["type"] == "exception":
            raise ScriptError(answer["exceptionDetails"]["text"])
        return answer["result"].get("value")

    def _run_in_window(self, script: str) -> None:
        """Run a script with the rights of the browser's own window."""
        self._run(script, self._window)

    def transfers(self) -> list[str]:
        """Return how each file that it saves stands: ``running``, ``saved`` or ``failed``."""
        transfers: list[str] = json.loads(
            self._run_with_transfers(
                """async (list) => {
                    const ended = ({ succeeded }) => (succeeded ? "saved" : "failed");
                    const stand = (each) => (each.stopped ? ended(each) : "running");
                    return JSON.stringify((await list.getAll()).map(stand));
                }"""
            )
        )
        return transfers

    def forget_transfers(self) -> None:
        """Remove all files that were saved, and the list of them."""
        self._run_with_transfers(
            """async (list) => {
                for (const each of await list.getAll()) {
                    await list.remove(each);
                    await each.finalize(true);
                }
            }"""
        )
        for path in self.downloads.iterdir():
            path.unlink()

    def _run_with_transfers(self, function: str) -> Any:
        """Call a function with the browser's own list of downloads."""
        module = "resource://gre/modules/Downloads.sys.mjs"
        downloads = f"ChromeUtils.importESModule('{module}').Downloads"
        every = f"{downloads}.getList({downloads}.ALL)"
        return self._run(f"{every}.then({function})", self._window)

    def _focus(self) -> None:
        """Focus the page, as if the person had its window in front."""
        self._run_in_window(
            "Services.focus.activeWindow = window; gBrowser.selectedBrowser.focus();"
        )

    def downloaded(self, name: str) -> bytes:
        content = super().downloaded(name)
        # The window itself has shown the download.
        self._focus()
        return content

    def open(self, url: str) -> None:
        self._call("browsingContext.navigate", context=self._page, url=url, wait="complete")

    def back(self) -> None:
        self._call("browsingContext.traverseHistory", context=self._page, delta=-1)

    def sign_in(self, url: str, session: str) -> None:
        host = urlsplit(url).hostname
        self._call("storage.deleteCookies")
        cookie = {"name": settings.SESSION_COOKIE_NAME, "domain": host, "httpOnly": True}
        value = {"type": "string", "value": session}
        self._call("storage.setCookie", cookie={**cookie, "value": value})

    def resize(self, width: int, height: int) -> None:
        size = {"width": width, "height": height}
        self._call("browsingContext.setViewport", context=self._page, viewport=size)

    def prefer(self, *, scheme: str = "light", motion: bool = True, forced: bool = False) -> None:
        preferences = {
            "layout.css.prefers-color-scheme.content-override": 0 if scheme == "dark" else 1,
            "ui.prefersReducedMotion": 0 if motion else 1,
            # Colours of the person instead of the page's: always, or only with a contrast theme.
            "browser.display.document_color_use": 2 if forced else 0,
        }
        for name, value in preferences.items():
            self._run_in_window(f"Services.prefs.setIntPref({json.dumps(name)}, {value})")

    def screenshot(self, path: Path) -> None:
        answer = self._call("browsingContext.captureScreenshot", context=self._page)
        path.write_bytes(base64.b64decode(answer["data"]))

    def _evaluate(self, expression: str, seconds: float) -> str:
        return str(self._run(expression, self._page, seconds))

    def _perform(self, source: dict[str, Any]) -> None:
        self._call("input.performActions", context=self._page, actions=[source])


class WebKit(Engine):
    """WebKitGTK by WebDriver, on a virtual screen."""

    name = "webkit"

    #: The virtual screen. Its pointer starts in the middle, and the window under it has the focus.
    SCREEN: Final = (2600, 2200)

    #: What it needs as root, without a graphics card and without a desktop. It paints faster
    #: without buffers that a graphics card would share.
    ENVIRONMENT: Final = {
        "GDK_BACKEND": "x11",
        "LIBGL_ALWAYS_SOFTWARE": "1",
        "NO_AT_BRIDGE": "1",
        "WEBKIT_DISABLE_DMABUF_RENDERER": "1",
        "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1",
    }

    def _start(self) -> None:
        config = self.folder / ".config"
        self._gtk = config / "gtk-3.0" / "settings.ini"
        self._gtk.parent.mkdir(parents=True, exist_ok=True)
        (config / "user-dirs.dirs").write_text(f'XDG_DOWNLOAD_DIR="{self.downloads}"\n')
        log = self.folder / "xvfb.log"
        depth = f"{self.SCREEN[0]}x{self.SCREEN[1]}x24"
        screen = ("Xvfb", "-displayfd", "2", "-screen", "0", depth, "-nolisten", "tcp")
        self._stack.enter_context(started(*screen, log=log))
        environment = {
            **self.ENVIRONMENT,
            "DISPLAY": ":" + printed(r"^(\d+)$", log),
            "HOME": str(self.folder),
            "XDG_CONFIG_HOME": str(config),
        }
        self._driver = f"http://127.0.0.1:{(port := free_port())}"
        log = self.folder / "driver.log"
        driver = ("WebKitWebDriver", f"--port={port}")
        self._stack.enter_context(started(*driver, log=log, **environment))
        eventually(self._answers, why="WebKitWebDriver listens")
        self._session = ""
        self._stack.callback(self._end_session)
        self._size = (1280, 800)
        self._preferred: tuple[str, bool] | None = None
        self._signed_in: tuple[str, str] | None = None
        self.prefer()

    def _answers(self) -> bool:
        try:
            return bool(self._send("GET", f"{self._driver}/status"))
        except OSError:
            return False

    def _send(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, method=method)  # noqa: S310 (a loopback address)
        try:
            with urllib.request.urlopen(  # noqa: S310
                request, timeout=pace.stretched(ANSWER_SECONDS)
            ) as answer:
                return json.load(answer)["value"]
        except HTTPError as error:
            with error:
                raise ScriptError(f"{url}: {error.read().decode()}") from error

    def _call(self, command: str, **body: Any) -> Any:
        return self._send("POST", f"{self._session}/{command}", body)

    def prefer(self, *, scheme: str = "light", motion: bool = True, forced: bool = False) -> None:
        assert not forced, "WebKit has no forced colours"
        if self._preferred == (scheme, motion):
            return
        self._end_session()
        self._gtk.write_text(f"[Settings]\ngtk-enable-animations={motion:d}\n")
        options = {
            "binary": str(services.minibrowser()),
            # Without the bars of a window, which would set the least width of the page.
            "args": [
                *("--automation", "--full-screen"),
                *(["--dark-mode"] if scheme == "dark" else []),
            ],
        }
        wanted = {"browserName": "MiniBrowser", "webkitgtk:browserOptions": options}
        body = {"capabilities": {"alwaysMatch": wanted}}
        answer = self._send("POST", f"{self._driver}/session", body)
        self._session = f"{self._driver}/session/{answer['sessionId']}"
        self._preferred = (scheme, motion)
        self.resize(*self._size)
        if self._signed_in:
            self.sign_in(*self._signed_in)

    def _end_session(self) -> None:
        if self._session:
            self._send("DELETE", self._session)
        self._session = ""

    def open(self, url: str) -> None:
        self._call("url", url=url)

    def leave(self) -> None:
        try:
            super().leave()
            self.painted()
        except (OSError, ScriptError):
            # On a busy machine, it sometimes stops painting, which fails a test. Others need a
            # new one.
            with suppress(OSError, ScriptError):
                self._stack.close()
            self._start()

    def back(self) -> None:
        self._call("back")

    def sign_in(self, url: str, session: str) -> None:
        self._signed_in = (url, session)
        # WebDriver sets cookies of the page that is open.
        self._call("url", url=url)
        self._send("DELETE", f"{self._session}/cookie")
        cookie = {"name": settings.SESSION_COOKIE_NAME, "value": session, "path": "/"}
        self._call("cookie", cookie=cookie)

    def resize(self, width: int, height: int) -> None:
        self._size = (width, height)
        x, y = (pixels // 2 - 1 for pixels in self.SCREEN)
        self._call("window/rect", x=x, y=y, width=width, height=height)

    def screenshot(self, path: Path) -> None:
        # It waits for the next frame, and a page at rest paints none.
        self.evaluate(
            """() => {
                const frames = [{ opacity: 1 }, { opacity: 0.999 }];
                const options = { duration: 1000, iterations: Infinity };
                window.painting = document.body.animate(frames, options);
            }"""
        )
        answer = self._send("GET", f"{self._session}/screenshot")
        self.evaluate("() => window.painting.cancel()")
        path.write_bytes(base64.b64decode(answer))

    def _evaluate(self, expression: str, seconds: float) -> str:
        return str(self._call("execute/sync", script=f"return {expression}", args=[]))

    def _perform(self, source: dict[str, Any]) -> None:
        self._call("actions", actions=[source])


@contextmanager
def started(*arguments: str, log: Path, **environment: str) -> Iterator[None]:
    """Run a program, with its errors in a file, and end it."""
    with (
        log.open("w") as errors,
        subprocess.Popen(
            arguments,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        ) as process,
    ):
        try:
            yield
        finally:
            process.terminate()
            process.wait(pace.LONGEST_WAIT)


def printed(pattern: str, log: Path) -> str:
    """Wait until a program has printed something, and return the group of the pattern."""
    match = eventually(
        lambda: re.search(pattern, log.read_text(), re.MULTILINE), why=f"{pattern} in {log.name}"
    )
    return match[1]


#: The browsers by their names; Chromium needs the browser of Playwright.
ENGINES: Final = {engine.name: engine for engine in (Chromium, Firefox, WebKit)}
