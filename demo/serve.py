"""The demo for people: it runs until Ctrl-C."""

import sys

from demo import database
from demo.services import PATIENCE, ServiceError, Services
from demo.shop.people import SIGN_INS

__all__ = ["run"]


def run(port: int) -> int:
    """Serve the shop from the first free port on, and return the exit code."""
    print(database.prepare(), flush=True)
    services = Services(port)
    problems = []
    try:
        with services:
            _greet(services.address)
            try:
                while True:
                    services.wait(60)
            except KeyboardInterrupt:
                print(
                    f"\nStopping. Running exports have {PATIENCE:.0f} s to finish; "
                    "a second Ctrl-C does not wait for them.",
                    flush=True,
                )
        print("The web server and the cluster are stopped.")
    except KeyboardInterrupt:
        print("\nStopped while starting.")
    except ServiceError as error:
        problems.append(str(error))
    if services.left_over:
        problems.append("Some processes could not be stopped.")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def _greet(address: str) -> None:
    print(f"\nThe shop is open at {address}\n\nSign in as")
    for person in SIGN_INS:
        print(f"  {person.username:<8}{person.password:<18}({person.role})")
    print("\nPress Ctrl-C to stop the web server and the cluster.", flush=True)
