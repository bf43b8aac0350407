"""A site with a web server that is shared by the tests of a module."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from demo import settings as demo
from tests.faults.conftest import needs
from tests.faults.harness import Child, Client, Server, Site, eventually
from tests.faults.site import transactions
from tests.faults.site.crowd import MARK
from tests.pace import stretched

__all__ = ["Running", "ends", "run_site"]

#: Calls tasks of the site as a queue would, under the package's eyes or not.
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
    """A site with a web server, and somebody who is signed in there."""

    database: str
    site: Site
    server: Server
    person: Client

    def init(self) -> str:
        """Make a record of this person's; returns the download key."""
        return str(self.person.post("/init/").json["download_key"])

    def call(
        self, *tasks: tuple[str, str], supervised: bool = True, timeout: float | None = None
    ) -> Child:
        """Call tasks in a process, one after the other.

        Args:
            *tasks: A module of the site's and the task's name in it, and the download key.
            supervised: Whether it is the package's runner that calls them.
            timeout: Seconds that an SQLite is to be waited for, if not as long as elsewhere.
        """
        paths = [(f"tests.faults.site.{task}", key) for task, key in tasks]
        code = CALL.format(tasks=paths, supervised=supervised)
        database = self.site.settings["DATABASES"]["default"]
        if timeout is not None:
            options = database["OPTIONS"] | {"timeout": stretched(timeout)}
            database = database | {"OPTIONS": options}
        return self.site.start(code, DATABASES={"default": database})

    def clear(self, key: str) -> float:
        """Clear a download, and return the seconds that it took."""
        began = time.monotonic()
        assert self.person.clear(key).status == 200
        return time.monotonic() - began

    def files(self, key: str) -> list[str]:
        """Return the files of one download."""
        return [path for path in self.site.files() if key in path]

    def until_percentage(self, key: str, percentage: int) -> float:
        """Wait until the list shows so much of a download, and return when that was."""

        def shown() -> bool:
            found = {item["download_key"]: item for item in self.person.update()["downloads"]}
            return bool(found[key]["percentage"] == percentage)

        eventually(shown, why=f"{percentage} % of {key}")
        return time.time()


@contextmanager
def run_site(database: str, *, migrated: bool = True, **settings: Any) -> Iterator[Running]:
    """Run a site; what the machine lacks skips the test.

    Args:
        database: As for ``Site``. ``sqlite`` has the options of the demo for its
            database and its cache, ``sqlite-deferred`` has none.
        migrated: Whether the tables are those of every site; else they are made for this one.
        **settings: Any settings of Django.
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


def ends(child: Child) -> dict[str, str]:
    """Wait for a process that ends with a crowd, and return how each of the crowd ended."""
    assert child.wait() == 0, child.log
    told = [line.removeprefix(MARK) for line in child.lines() if line.startswith(MARK)]
    return dict(line.split(": ", 1) for line in told)
