"""``download_task`` in a process without a queue, as a cron job or a thread of the site."""

import os
import signal

from tests.faults.harness import NewSite, Site, kill

CALL = """
from tests.faults.site import tasks
tasks.supervised[{task!r}]({key!r})
print("returned")
"""

INIT_AND_CALL = """
from async_downloads import cache
from tests.faults.site import tasks
_, key = cache.init_download("ada", "{task}.csv")
tasks.supervised["{task}"](key)
print("returned")
"""

#: Calls a task that raises an exception like the timeout of a queue when it gets SIGALRM.
CALL_WITH_TIMEOUT = """
import signal
from tests.faults.site import tasks

class Timeout(SystemExit):
    pass

def ring(number, frame):
    raise Timeout("too long")

signal.signal(signal.SIGALRM, ring)
try:
    tasks.supervised["silent"]({key!r})
except Timeout:
    print("timed out")
"""


def call_and_kill(site: Site, key: str, task: str, *, start: int) -> None:
    """Call a task in a child, and kill the child during the task."""
    with site.start(CALL.format(task=task, key=key)) as child:
        assert site.until_started(key, number=start).pid == child.pid
        kill(child.pid)


def test_each_call_counts_as_an_attempt_up_to_the_limit(new_site: NewSite) -> None:
    """Also if its process dies, before or within ``save_download``."""
    site = new_site("postgres", ASYNC_DOWNLOADS_STALLED_AFTER=1, ASYNC_DOWNLOADS_MAX_ATTEMPTS=2)
    key = site.init()
    call_and_kill(site, key, "silent", start=1)
    call_and_kill(site, key, "steady", start=2)
    assert site.row(key)["attempts"] == 2
    assert site.run(CALL.format(task="rows", key=key)) == "returned"
    row = site.row(key)
    assert (row["state"], row["attempts"], len(site.starts(key))) == ("failed", 2, 2)
    assert "given up" in row["errors"].lower()
    assert not site.files()


def test_a_call_after_a_crash_builds_the_file(new_site: NewSite) -> None:
    """It waits until the attempt that died has stalled."""
    site = new_site("sqlite", ASYNC_DOWNLOADS_STALLED_AFTER=1)
    key = site.init()
    call_and_kill(site, key, "steady", start=1)
    assert site.run(CALL.format(task="rows", key=key)) == "returned"
    row = site.row(key)
    assert (row["state"], row["attempts"], site.files()) == ("complete", 2, [row["filepath"]])


def test_every_end_of_a_task_is_recorded(new_site: NewSite) -> None:
    """Exits, failures, no file; an error that the queue should see is raised again."""
    site = new_site("sqlite")
    ends = {
        "forget": ("", "without a file"),
        "fail": ("LookupError", "Something went wrong"),
        "fail_for_people": ("", "Choose a shorter period."),
        "leave": ("RuntimeError", "stopped"),
        "leave_within": ("RuntimeError", "stopped"),
    }
    children = {task: site.start(INIT_AND_CALL.format(task=task)) for task in ends}
    for task, (raised, message) in ends.items():
        child = children[task]
        assert child.wait() == (1 if raised else 0), child.log
        assert raised in child.log
        assert ("returned" in child.log) == (not raised)
        (row,) = (row for row in site.rows() if row["filename"] == f"{task}.csv")
        assert (row["state"], row["attempts"]) == ("failed", 1), (task, row)
        assert message in row["errors"], (task, row)
    assert not site.files()


def test_a_timeout_is_recorded_and_raised_again(new_site: NewSite) -> None:
    """It is a subclass of ``SystemExit``, as in django-q2."""
    site = new_site("sqlite")
    key = site.init()
    with site.start(CALL_WITH_TIMEOUT.format(key=key)) as child:
        os.kill(site.until_started(key).pid, signal.SIGALRM)
        assert child.wait() == 0, child.log
        assert "timed out" in child.log
    row = site.row(key)
    assert (row["state"], row["attempts"]) == ("failed", 1)
    assert "took too long" in row["errors"]
