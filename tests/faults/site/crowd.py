"""Processes that are forked from one that has loaded Django, which is a lot quicker."""

import os
import sys
import traceback
from collections.abc import Callable, Mapping

from django.db import connections

#: Stands before each line that tells how a process ended.
MARK = "> "


def crowd(works: Mapping[str, Callable[[], object]]) -> None:
    """Do each work in a process of its own, all at once, and wait for all of them.

    Of each it prints ``> name: `` and what the work returned, what it raised, or
    the signal that killed it.
    """
    connections.close_all()
    wait, begin = os.pipe()
    names = {}
    for name, work in works.items():
        pid = os.fork()
        if not pid:
            os.close(begin)
            os.read(wait, 1)
            _do(name, work)
        names[pid] = name
    os.close(begin)
    for pid, name in names.items():
        status = os.waitpid(pid, 0)[1]
        if os.WIFSIGNALED(status):
            _tell(name, f"killed by {os.WTERMSIG(status)}")


def _do(name: str, work: Callable[[], object]) -> None:
    try:
        try:
            _tell(name, work())
        except BaseException as error:
            traceback.print_exc()
            _tell(name, f"raised {type(error).__name__}")
    finally:
        connections.close_all()
        os._exit(0)


def _tell(name: str, end: object) -> None:
    # In one piece, so that nobody else's line comes between.
    sys.stdout.write(f"{MARK}{name}: {end}\n")
    sys.stdout.flush()
