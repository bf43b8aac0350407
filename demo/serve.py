"""Run the demo for people, until Ctrl-C."""

import sys

from django.conf import settings

from demo import database
from demo.servers.supervisor import GRACE_SECONDS, ServerError, Supervisor
from demo.shop.people import SIGN_INS

__all__ = ["serve"]


def serve(servers: Supervisor) -> int:
    """Serve the shop, and return the exit code."""
    print(database.prepare(), flush=True)
    problems = []
    try:
        with servers:
            _greet(servers)
            try:
                while True:
                    servers.wait(60)
            except KeyboardInterrupt:
                print(
                    f"\nStopping. Exports in progress have {GRACE_SECONDS:.0f} s to finish. "
                    "Press Ctrl-C again to stop at once.",
                    flush=True,
                )
        print(f"{servers.TITLE} have stopped.")
    except KeyboardInterrupt:
        print("\nStopped while starting.")
    except ServerError as error:
        problems.append(str(error))
    if servers.left_over:
        problems.append("Some processes did not stop.")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def _greet(servers: Supervisor) -> None:
    print(f"\nThe shop is open at {servers.address}\n\nSign in as")
    for person in SIGN_INS:
        print(f"  {person.username:<8}{person.password:<18}({person.role})")
    for line in servers.notes:
        print(f"\n{line}")
    print(f"\nMails about exports that took long become files in {settings.EMAIL_FILE_PATH}.")
    print(f"\nPress Ctrl-C to stop {servers.TITLE[:1].lower()}{servers.TITLE[1:]}.", flush=True)
