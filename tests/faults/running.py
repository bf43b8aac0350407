"""A site with a web server, which the tests of a module share."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from demo import settings as demo
from tests.faults.conftest import needs
from tests.faults.harness import Child, Client, Server, Site, eventually
from tests.faults.site import transactions
from tests.faults.site.forks import MARK
from tests.pace import stretched

__all__ = ["Running", "outcomes", "run_site"]

#: Calls tasks of the site as a queue would, through the package's runner or directly.
CALL = """
from django.utils.module_loading import import_string
from async_downloads.tasks import run_task
for path, key in {tasks!r}:
    if {supervised!r}:
        run_task(path, key)
    else:
        import_string(path)(key)
print("returned")
"""


@dataclass
class Running:
    """A site with a web server, and a user who is signed in there."""

    database: str
    site: Site
    server: Server
    person: Client

    def init(self) -> str:
        """Make a download of this user; return the download key."""
        return self.person.begin("/init/")

    def call(
        self, *tasks: tuple[str, str], supervised: bool = True, timeout: float | None = None
    ) -> Child:
        """Call tasks in a child process, one after the other.

        Args:
            *tasks: The dotted path of a task below ``tests.faults.site``, and a download key.
            supervised: Whether the package's runner calls the tasks.
            timeout: Seconds to wait for a locked SQLite, if not as in the settings.
        """
        paths = [(f"tests.faults.site.{task}", key) for task, key in tasks]
        code = CALL.format(tasks=paths, supervised=supervised)
        database = self.site.settings["DATABASES"]["default"]
        if timeout is not None:
            options = database["OPTIONS"] | {"timeout": stretched(timeout)}
            database = database | {"OPTIONS": options}
        return self.site.start(code, DATABASES={"default": database})

    def clear(self, key: str) -> float:
        """Clear a download, and return how many seconds that took."""
        began = time.monotonic()
        assert self.person.clear(key).status == 200
        return time.monotonic() - began

    def until_percentage(self, key: str, percentage: int) -> float:
        """Wait until the list shows this progress of a download, and return the time."""

        def shown() -> bool:
            items = {item["download_key"]: item for item in self.person.update()["downloads"]}
            return bool(items[key]["percentage"] == percentage)

        eventually(shown, why=f"{percentage} % of {key}")
        return time.time()


@contextmanager
def run_site(database: str, *, migrated: bool = True, **settings: Any) -> Iterator[Running]:
    """Run a site, or skip the test if the machine lacks a part.

    Args:
        database: As for ``Site``. ``sqlite`` has the options of the demo for its
            database and its cache, ``sqlite-deferred`` has none.
        migrated: Whether to copy the usual tables; otherwise this site migrates its own.
        **settings: More settings of Django.
    """
    kind, _, deferred = database.partition("-")
    cache = "file" if kind == "sqlite" else "redis"
    needs("proc", kind, *({cache} & {"redis"}))
    settings = {"ROOT_URLCONF": transactions.__name__} | settings
    with Site(kind, cache=cache, migrated=migrated, **settings) as site:
        if not migrated:
            site.run("from django.core.management import call_command; call_command('migrate')")
        if deferred:
            site.settings["DATABASES"]["default"]["OPTIONS"] = {}
            site.query("PRAGMA journal_mode=DELETE")
        elif kind == "sqlite":
            for name in ("CACHES", "DATABASES"):
                options = getattr(demo, name)["default"]["OPTIONS"]
                site.settings[name]["default"]["OPTIONS"] = options
        with site.server() as server:
            yield Running(database, site, server, server.client())


def outcomes(child: Child) -> dict[str, str]:
    """Wait for a child that calls ``run_in_forks``, and return how each of its jobs ended."""
    assert child.wait() == 0, child.log
    lines = [line.removeprefix(MARK) for line in child.lines() if line.startswith(MARK)]
    return dict(line.split(": ", 1) for line in lines)
