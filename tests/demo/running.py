"""The demo in processes of its own."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.demo.commands import ROOT, run
from tests.faults.processes import Child, eventually, free_port

__all__ = ["Demo", "running_demo"]


class Demo:
    """A demo with few orders, and its folder."""

    def __init__(self, folder: Path):
        self._environ = {
            "DEMO_VAR": str(folder),
            "DEMO_ORDERS": "2000",
            "DJANGO_SETTINGS_MODULE": "demo.settings",
        }
        others = ("DEMO_", "DJANGO_", "PROMETHEUS_")
        inherited = {key: text for key, text in os.environ.items() if not key.startswith(others)}
        self.folder = folder
        self.process = Child(
            [sys.executable, "-m", "demo", "--port", str(free_port())],
            env={**inherited, **self._environ, "PYTHONPATH": str(ROOT)},
            log=folder / "demo.log",
        )

    @property
    def address(self) -> str:
        """The address of the shop; empty until it is open."""
        assert self.process.alive, self.process.log
        found = re.search(r"The shop is open at (\S+)", self.process.log)
        return found[1] if found else ""

    def execute(self, code: str, *arguments: str, **environ: str) -> None:
        """Run Python with the settings of the demo."""
        done = run("-c", code, *arguments, **self._environ, **environ)
        assert done.returncode == 0, done.stderr + self.process.log


@contextmanager
def running_demo(folder: Path) -> Iterator[Demo]:
    """Start the demo, wait until the shop is open, and stop it at the end."""
    demo = Demo(folder)
    try:
        eventually(lambda: demo.address, why="the shop is open")
        yield demo
    finally:
        # It stops its own processes, which are in groups of their own.
        demo.process.terminate()
        demo.process.wait()
        demo.process.close()
