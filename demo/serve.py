"""The demo for people: it runs until Ctrl-C."""

import sys

from demo import database
from demo.children import PATIENCE, Children, ServiceError
from demo.shop.people import SIGN_INS

__all__ = ["run"]


def run(services: Children) -> int:
    """Serve the shop, and return the exit code."""
    print(database.prepare(), flush=True)
    problems = []
    try:
        with services:
            _greet(services)
            try:
                while True:
                    services.wait(60)
            except KeyboardInterrupt:
                print(
                    f"\nStopping. Running exports have {PATIENCE:.0f} s to finish; "
                    "a second Ctrl-C does not wait for them.",
                    flush=True,
                )
        print(f"{services.TITLE} are stopped.")
    except KeyboardInterrupt:
        print("\nStopped while starting.")
    except ServiceError as error:
        problems.append(str(error))
    if services.left_over:
        problems.append("Some processes could not be stopped.")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def _greet(services: Children) -> None:
    print(f"\nThe shop is open at {services.address}\n\nSign in as")
    for person in SIGN_INS:
        print(f"  {person.username:<8}{person.password:<18}({person.role})")
    for line in services.notes:
        print(f"\n{line}")
    print(f"\nPress Ctrl-C to stop {services.TITLE[:1].lower()}{services.TITLE[1:]}.", flush=True)
