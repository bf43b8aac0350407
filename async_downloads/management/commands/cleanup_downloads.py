"""``manage.py cleanup_downloads``: remove what has expired."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.template.defaultfilters import filesizeformat

from async_downloads import store


class Command(BaseCommand):
    """The periodic clean-up, by hand."""

    help = "Removes the downloads that have expired, with their files."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="Only tell how many downloads would be removed.",
        )

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        """Clean up and tell what was done."""
        done = store.clean_up(dry_run=dry_run)
        verb = "Would remove" if dry_run else "Removed"
        noun = "download" if done.downloads == 1 else "downloads"
        size = filesizeformat(done.size).replace("\xa0", " ")
        self.stdout.write(f"{verb} {done.downloads} expired {noun} ({size}).")
