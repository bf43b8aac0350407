"""Children that are forks behave as new programs do."""

import os
import signal
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Final

import pytest

from tests.faults.harness import Child, NewSite, alive, kill
from tests.faults.processes import PROC, eventually, open_files
from tests.pace import LONGEST_WAIT

#: Waits for a signal.
WAIT: Final = "import signal; print('waits'); signal.pause()"


def test_a_fork_has_a_session_an_environment_and_descriptors_of_its_own(
    new_site: NewSite,
) -> None:
    site = new_site(ASYNC_DOWNLOADS_STALLED_AFTER=77)
    with site.start(WAIT) as first, site.start(WAIT) as second:
        for child in (first, second):
            eventually(lambda child=child: child.lines("waits"), why="a child that waits")  # type: ignore[misc]
            assert os.getsid(child.pid) == os.getpgid(child.pid) == child.pid
            # Django-q2 makes shared memory.
            files = {name for name in open_files(child.pid) if "/shm/" not in name}
            assert files == {os.devnull, str(child.log_path)}
    code = "from django.conf import settings; print(settings.ASYNC_DOWNLOADS_STALLED_AFTER)"
    assert site.run(code) == "77"
    assert site.run(code, ASYNC_DOWNLOADS_STALLED_AFTER=78) == "78"
    assert "FAULTS_SITE" not in os.environ


@pytest.mark.parametrize(
    ("code", "end"),
    [
        ("", 0),
        ("raise SystemExit(3)", 3),
        ("1 / 0", 1),
        ("import os; os._exit(4)", 4),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        ("import atexit; atexit.register(print, 'at exit')", 0),
    ],
)
def test_the_end_of_a_fork_is_known(new_site: NewSite, code: str, end: int) -> None:
    child = new_site().start(code)
    assert child.wait() == end
    assert ("ZeroDivisionError" in child.log) == (code == "1 / 0")
    assert ("at exit" in child.log) == ("atexit" in code)


def test_a_killed_fork_keeps_its_number_until_it_is_waited_for(new_site: NewSite) -> None:
    child: Child = new_site().start(WAIT)
    with pytest.raises(TimeoutExpired):
        child.wait(0.01)
    kill(child.pid)
    assert not alive(child.pid)
    assert Path(PROC, str(child.pid)).exists()
    assert child.wait(LONGEST_WAIT) == -signal.SIGKILL
    eventually(lambda: not Path(PROC, str(child.pid)).exists(), why="the end of its number")
