"""Measure one case of one subject in this process: ``python measure.py SUBJECT CASE SIZE``.

Prints a line of JSON: seconds, the growth of peak memory in MB, and the number of
calls. The preparation is not measured.
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
    """Reset the peak of memory that the kernel keeps."""
    # Without it, the growth would include the preparation.
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def memory(name: str) -> float:
    """Return a memory figure of this process in MB; 0 without /proc."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def timed(body: Callable[[], int | None]) -> dict[str, float]:
    """Call a function once, and return seconds, growth of memory, and calls."""
    gc.collect()
    reset_peak()
    before = memory("VmRSS")
    began = time.perf_counter()
    calls = body() or 1
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "growth": max(0.0, memory("VmHWM") - before), "calls": calls}


def main(subject: str, case: str, size: int) -> None:
    """Prepare a case of a subject, call it, and print the measurements."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench_settings"
    django.setup()
    prepare = getattr(importlib.import_module(f"subjects.{subject}"), case)
    print(json.dumps(timed(prepare(size))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
