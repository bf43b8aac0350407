"""Commands of the demo, each in a process with settings of its own."""

import os
import subprocess
import sys
from pathlib import Path

from tests.pace import LONGEST_WAIT

__all__ = ["ROOT", "SECRET", "check", "run"]

ROOT = Path(__file__).parents[2]

#: Django wants at least 50 characters, and at least 5 different ones.
SECRET = "tests" + "0123456789abcdefghijklmnopqrstuvwxyz" * 2


def check(**environ: str) -> "subprocess.CompletedProcess[str]":
    """Run the deployment checks, with the production settings unless others are named."""
    return run("-m", "django", "check", "--deploy", "--fail-level", "WARNING", **environ)


def run(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run Python with these variables, and none of the demo's from the tests' environment."""
    # DJANGO_ALLOW_ASYNC_UNSAFE, which Playwright needs, is an error in production.
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "DEMO_", "DJANGO_"))
    }
    settings = {"DJANGO_SETTINGS_MODULE": "demo.settings.production", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=clean | settings | environ,
        capture_output=True,
        text=True,
        timeout=LONGEST_WAIT,
        check=False,
    )
