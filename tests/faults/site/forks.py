"""Processes forked from one that has loaded Django, which is much quicker than starting each."""

import os
import sys
import traceback
from collections.abc import Callable, Mapping

from django.db import connections

#: Stands before each line that says how a process ended.
MARK = "> "


def run_in_forks(jobs: Mapping[str, Callable[[], object]]) -> None:
    """Run each job in a process of its own, all at once, and wait for all of them.

    For each it prints ``> name: `` and what the job returned, what it raised, or
    the signal that killed it.
    """
    connections.close_all()
    wait, begin = os.pipe()
    names = {}
    for name, job in jobs.items():
        pid = os.fork()
        if not pid:
            os.close(begin)
            os.read(wait, 1)
            _run(name, job)
        names[pid] = name
    os.close(begin)
    for pid, name in names.items():
        status = os.waitpid(pid, 0)[1]
        if os.WIFSIGNALED(status):
            _print(name, f"killed by {os.WTERMSIG(status)}")


def _run(name: str, job: Callable[[], object]) -> None:
    try:
        try:
            _print(name, job())
        except BaseException as error:
            traceback.print_exc()
            _print(name, f"raised {type(error).__name__}")
    finally:
        connections.close_all()
        os._exit(0)


def _print(name: str, outcome: object) -> None:
    # In one write, so that lines of two processes do not mix.
    sys.stdout.write(f"{MARK}{name}: {outcome}\n")
    sys.stdout.flush()
