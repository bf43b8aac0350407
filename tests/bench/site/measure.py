"""Measure one thing in a process of its own: ``python measure.py SUBJECT CASE SIZE``.

Prints a line of JSON: seconds, the growth of the peak of memory in MB, and how
many calls were timed. What prepares it is not timed.
"""

import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import django


def reset_peak() -> None:
    """Have the kernel count the peak of memory from here on."""
    # Without it, the growth includes what the preparation took.
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def memory(name: str) -> float:
    """Return a figure of this process's memory in MB; 0 where there is no /proc."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def timed(body: Callable[[], int | None]) -> dict[str, float]:
    """Run it once, and return what it took."""
    gc.collect()
    reset_peak()
    before = memory("VmRSS")
    began = time.perf_counter()
    calls = body() or 1
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "growth": max(0.0, memory("VmHWM") - before), "calls": calls}


def main(subject: str, case: str, size: int) -> None:
    """Prepare a case of a subject, run it, and print what it took."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench_settings"
    django.setup()
    prepare = getattr(importlib.import_module(f"subjects.{subject}"), case)
    print(json.dumps(timed(prepare(size))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
