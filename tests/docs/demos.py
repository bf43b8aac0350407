"""The demo, in a process with settings of its own."""

import os
import subprocess
import sys

from tests.docs.helpers import ROOT

__all__ = ["SECRET", "checked"]

#: As Django requires it: 50 characters, and more than a few different ones.
SECRET = "0123456789abcdefghijklmnopqrstuvwxyz" * 2


def checked(**environ: str) -> str:
    """Run Django's checks on the demo, and return what they print.

    Args:
        **environ: The environment, without the one of the tests.

    Raises:
        AssertionError: A check fails, or warns.
    """
    ours = ("DEMO_", "DJANGO_", "AWS_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    done = subprocess.run(
        [sys.executable, *["-m", "django", "check", "--deploy", "--fail-level", "WARNING"]],
        cwd=ROOT,
        env=clean | {"PYTHONPATH": str(ROOT)} | environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
