"""``manage.py cleanup_downloads``: remove what has expired."""

from argparse import ArgumentParser, ArgumentTypeError
from datetime import timedelta
from typing import Any, Final

from django.core.management.base import BaseCommand
from django.template.defaultfilters import filesizeformat

from async_downloads import store

#: Hours: older than a task that is still at work, younger than what nobody remembers.
ORPHAN_HOURS: Final = 24.0


class Command(BaseCommand):
    """The periodic clean-up, by hand, and the search for files that no row knows."""

    help = "Removes the downloads that have expired, with their files."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--dry-run", action="store_true", help="Remove nothing, and tell what would be removed."
        )
        parser.add_argument(
            "--orphans",
            action="store_true",
            help="Also remove files that belong to no download, and list them. Only folders that "
            "are named like a download are looked into.",
        )
        parser.add_argument(
            "--min-age",
            type=_hours,
            default=ORPHAN_HOURS,
            metavar="HOURS",
            help="How old such a file must be (default: %(default)g).",
        )

    def handle(
        self, *args: Any, dry_run: bool, orphans: bool, min_age: float, **options: Any
    ) -> None:
        """Clean up and tell what was done."""
        verb = "Would remove" if dry_run else "Removed"
        done = store.clean_up(dry_run=dry_run)
        size = filesizeformat(done.size).replace("\xa0", " ")
        self.stdout.write(f"{verb} {_count(done.downloads, 'expired download')} ({size}).")
        if done.collections:
            self.stdout.write(f"{verb} {_count(done.collections, 'empty collection')}.")
        if orphans:
            found = 0
            age = timedelta(hours=min_age)
            for path in store.remove_orphans(min_age=age, dry_run=dry_run):
                found += 1
                self.stdout.write(f"  {path}")
            self.stdout.write(f"{verb} {_count(found, 'orphan file')}.")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = -1.0
    if not 0 <= hours < 1e6:
        raise ArgumentTypeError(f"{text!r} is no number of hours")
    return hours
