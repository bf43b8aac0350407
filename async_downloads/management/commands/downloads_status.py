"""``manage.py downloads_status``: print counts and problems, for people and for monitoring."""

import json
from argparse import ArgumentParser
from datetime import datetime, timedelta
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError
from django.utils.timesince import timesince

from async_downloads import store
from async_downloads.management.console import ExitCode, number, plain_errors, readable_size

DEFAULT: Final = store.Tolerance()


class Command(BaseCommand):
    """Print counts, sizes and problems, and exit with 1 if there is a problem."""

    help = (
        "Prints how many downloads there are in each state, and the problems. Exit status: 0 no "
        "problem, 1 a problem, 2 wrong options, 3 the database cannot be used."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")
        parser.add_argument(
            "--max-stalled",
            type=int,
            default=DEFAULT.stalled,
            metavar="NUMBER",
            help="How many may have a worker that stopped responding (default: %(default)s).",
        )
        parser.add_argument(
            "--max-pending",
            type=number,
            default=DEFAULT.pending / timedelta(minutes=1),
            metavar="MINUTES",
            help="How long one may wait for a worker (default: %(default)g).",
        )
        parser.add_argument(
            "--max-expired",
            type=number,
            default=DEFAULT.expired / timedelta(hours=1),
            metavar="HOURS",
            help="How long ago one may have expired without being removed (default: %(default)g: "
            "a clean-up runs once a day at least).",
        )
        parser.add_argument(
            "--max-failed",
            type=int,
            metavar="NUMBER",
            help="How many may have failed and not expired yet (default: any number).",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the status.

        Raises:
            CommandError: There is a problem.
        """
        tolerance = store.Tolerance(
            stalled=options["max_stalled"],
            pending=timedelta(minutes=options["max_pending"]),
            expired=timedelta(hours=options["max_expired"]),
            failed=options["max_failed"],
        )
        with plain_errors():
            status = store.read_status()
        problems = status.problems(tolerance)
        if options["json"]:
            self.stdout.write(json.dumps(_as_json(status, problems)))
        else:
            self._print(status)
        if problems:
            raise CommandError(" ".join(problems.values()), returncode=ExitCode.WRONG)

    def _print(self, status: store.Status) -> None:
        for state, total in status.states.items():
            self.stdout.write(f"{state:<10}{total.count:>10}  {readable_size(total.size)}")
        size = readable_size(status.expired.size)
        oldest = _age(status, status.oldest_expired)
        self.stdout.write(f"{'expired':<10}{status.expired.count:>10}  {size}{oldest}")
        self.stdout.write(f"{'stalled':<10}{status.stalled:>10}")
        self.stdout.write(f"{'stuck':<10}{status.stuck:>10}")
        waiting = _age(status, status.oldest_pending).removeprefix(", ") or "nothing waits"
        self.stdout.write(f"Longest wait for a worker: {waiting}.")
        cleaned = _age(status, status.last_cleanup).removeprefix(", ")
        self.stdout.write(f"Last clean-up: {f'{cleaned} ago' if cleaned else 'not known'}.")


def _age(status: store.Status, since: datetime | None) -> str:
    return "" if since is None else f", {timesince(since, status.read_at)}".replace("\xa0", " ")


def _as_json(status: store.Status, problems: dict[str, str]) -> dict[str, Any]:
    def since(moment: datetime | None) -> dict[str, Any] | None:
        if moment is None:
            return None
        seconds = int((status.read_at - moment).total_seconds())
        return {"at": moment.isoformat(), "seconds": max(seconds, 0)}

    return {
        "ok": not problems,
        "problems": problems,
        "states": {
            state: {"downloads": total.count, "bytes": total.size}
            for state, total in status.states.items()
        },
        "stalled": status.stalled,
        "stuck": status.stuck,
        "oldest_pending": since(status.oldest_pending),
        "expired": {
            "downloads": status.expired.count,
            "bytes": status.expired.size,
            "oldest": since(status.oldest_expired),
        },
        "last_cleanup": since(status.last_cleanup),
    }
