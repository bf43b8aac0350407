"""How long things may take on this machine, which may be slow, or busy with other tests.

What is waited for is an event, and an end to the waiting is only for what never comes: that
is ``LONGEST_WAIT``. What a test makes shorter than it is in earnest, such as a time-out of a
queue, is a race against the work that has to be done meanwhile, and is ``stretched``.
"""

import functools
import math
import os
import subprocess
import sys
import time
from typing import Final

__all__ = ["LONGEST_WAIT", "slowness", "stretched", "whole"]

#: Seconds after which an event is taken for one that never comes.
LONGEST_WAIT: Final = 300.0

#: Seconds that a process takes to begin and import Django, on a usual machine that is quiet.
USUAL_SECONDS: Final = 1.0

#: How many times slower than that a machine is at the most.
SLOWEST: Final = 15.0

#: Where the processes of one run find what one of them has measured.
VARIABLE: Final = "TESTS_SLOWNESS"


@functools.cache
def slowness() -> float:
    """Return how many times slower than a usual machine this one is just now; at least 1."""
    if VARIABLE not in os.environ:
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", "import django.db.models"], check=True)
        took = time.monotonic() - began
        os.environ[VARIABLE] = str(min(SLOWEST, max(1.0, took / USUAL_SECONDS)))
    return float(os.environ[VARIABLE])


def stretched(seconds: float) -> float:
    """Return a short time, longer by as much as this machine is slower."""
    return seconds * slowness()


def whole(seconds: float) -> int:
    """Return the same as whole seconds, as settings want them."""
    return math.ceil(stretched(seconds))
