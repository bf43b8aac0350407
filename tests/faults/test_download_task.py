"""Tasks that a bare process runs: ``download_task`` without a queue."""

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

#: Calls a task under an alarm that raises what a queue's time-out raises.
CALL_WITH_TIME_OUT = """
import signal

class TimeOut(SystemExit):
    pass

def ring(number, frame):
    raise TimeOut("too long")

signal.signal(signal.SIGALRM, ring)
signal.setitimer(signal.ITIMER_REAL, 0.2)
try:
    from tests.faults.site import tasks
    tasks.supervised["silent"]({key!r})
except TimeOut:
    print("timed out")
"""


def killed(site: Site, key: str, task: str, *, start: int) -> None:
    """Call a task in a process, and kill that when it is at it."""
    with site.start(CALL.format(task=task, key=key)) as child:
        assert site.started(key, times=start).pid == child.pid
        kill(child.pid)


# A bare process, as a cron job or a thread of the site's own would be


def test_each_call_is_an_attempt_until_they_are_used_up(new_site: NewSite) -> None:
    """A process that dies leaves its attempt counted, before and within ``save_download``."""
    site = new_site("postgres", ASYNC_DOWNLOADS_STALLED_AFTER=1, ASYNC_DOWNLOADS_MAX_ATTEMPTS=2)
    key = site.init()
    killed(site, key, "silent", start=1)
    killed(site, key, "steady", start=2)
    assert site.row(key)["attempts"] == 2
    assert site.run(CALL.format(task="rows", key=key)) == "returned"
    row = site.row(key)
    assert (row["state"], row["attempts"], len(site.starts(key))) == ("failed", 2, 2)
    assert "given up" in row["errors"].lower()
    assert not site.files()


def test_a_call_after_a_crash_makes_the_file(new_site: NewSite) -> None:
    """It waits until the one that died is known to be dead."""
    site = new_site("sqlite", ASYNC_DOWNLOADS_STALLED_AFTER=1)
    key = site.init()
    killed(site, key, "steady", start=1)
    assert site.run(CALL.format(task="rows", key=key)) == "returned"
    row = site.row(key)
    assert (row["state"], row["attempts"], site.files()) == ("complete", 2, [row["filepath"]])


def test_however_a_task_ends_it_is_recorded(new_site: NewSite) -> None:
    """Exits, failures, no file; and what is for the queue to know is raised again."""
    site = new_site("sqlite")
    ends = {
        "forget": ("", "without a file"),
        "fail": ("LookupError", "Something went wrong"),
        "fail_for_people": ("", "Choose a shorter period."),
        "leave": ("RuntimeError", "stopped"),
        "leave_within": ("RuntimeError", "stopped"),
    }
    children = {task: site.start(INIT_AND_CALL.format(task=task)) for task in ends}
    for task, (raised, told) in ends.items():
        child = children[task]
        assert child.wait() == (1 if raised else 0), child.log
        assert raised in child.log
        assert ("returned" in child.log) == (not raised)
        (row,) = (row for row in site.rows() if row["filename"] == f"{task}.csv")
        assert (row["state"], row["attempts"]) == ("failed", 1), (task, row)
        assert told in row["errors"], (task, row)
    assert not site.files()


def test_a_time_out_is_recorded_and_left_to_who_waits_for_it(new_site: NewSite) -> None:
    """It is a ``SystemExit`` of a kind of its own, as those of django-q2 are."""
    site = new_site("sqlite")
    key = site.init()
    assert site.run(CALL_WITH_TIME_OUT.format(key=key)) == "timed out"
    row = site.row(key)
    assert (row["state"], row["attempts"]) == ("failed", 1)
    assert "took too long" in row["errors"]
