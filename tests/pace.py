"""Times that fit the speed of the machine, which may be slow or busy with other tests.

A test waits for an event, and fails after ``LONGEST_WAIT`` if the event never happens. A time
that a test shortens, such as the timeout of a queue, is a race against the work that must be
done meanwhile, and is ``stretched``.
"""

import functools
import math
import os
import subprocess
import sys
import time
from typing import Final

__all__ = ["LONGEST_WAIT", "slowness", "stretched", "whole"]

#: Seconds after which a test gives up waiting for an event.
LONGEST_WAIT: Final = 300.0

#: Seconds that a process takes to start and import Django on a usual, idle machine.
USUAL_SECONDS: Final = 1.0

#: The largest slowness that is taken into account.
SLOWEST: Final = 15.0

#: The environment variable through which the processes of one run share the slowness.
VARIABLE: Final = "TESTS_SLOWNESS"


@functools.cache
def slowness() -> float:
    """Return how many times slower than a usual machine this one is now; at least 1."""
    if VARIABLE not in os.environ:
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", "import django.db.models"], check=True)
        took = time.monotonic() - began
        os.environ[VARIABLE] = str(min(SLOWEST, max(1.0, took / USUAL_SECONDS)))
    return float(os.environ[VARIABLE])


def stretched(seconds: float) -> float:
    """Return a time, multiplied by the slowness of this machine."""
    return seconds * slowness()


def whole(seconds: float) -> int:
    """Return a stretched time, rounded up to an int."""
    return math.ceil(stretched(seconds))
