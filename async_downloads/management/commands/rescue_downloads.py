"""``manage.py rescue_downloads``: let stalled downloads be built by another attempt."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from async_downloads import mail, settings, store
from async_downloads.management.console import ExitCode, counted, plain_errors


class Command(BaseCommand):
    """Rescue what has stalled, as the scheduled job does."""

    help = (
        "Queues the tasks of stalled downloads again, fails the downloads that had their last "
        "attempt, and sends the mails due. Exit status: 0 done, 1 a download could not be "
        "rescued, 2 wrong options, 3 the database cannot be used, 130 interrupted."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Rescue, send mails, and print the numbers.

        Raises:
            CommandError: A download could not be rescued, or the database cannot be used.
        """
        with plain_errors():
            rescue = store.rescue_alone()
            mails = mail.send_due()
        show = self._print_json if options["json"] else self._print
        show(rescue)
        if mails and not options["json"]:
            self.stdout.write(f"Sent {counted(mails, 'mail')}.")
        if rescue is not None and rescue.errors:
            raise CommandError(
                f"{counted(rescue.errors, 'download')} could not be rescued. The log says why.",
                returncode=ExitCode.WRONG,
            )

    def _print(self, rescue: store.Rescue | None) -> None:
        if not settings.RESCUE:
            self.stdout.write("ASYNC_DOWNLOADS_RESCUE is off, so nothing is rescued.")
        elif rescue is None:
            self.stdout.write("Another process is rescuing downloads.")
        else:
            self.stdout.write(f"Queued {counted(rescue.requeued, 'stalled download')} again.")
            if rescue.failed:
                failed = counted(rescue.failed, "download")
                self.stdout.write(f"Failed {failed} whose last attempt has stalled.")

    def _print_json(self, rescue: store.Rescue | None) -> None:
        numbers = (rescue or store.Rescue())._asdict()
        ran = settings.RESCUE and rescue is not None
        self.stdout.write(json.dumps({"ran": ran, **numbers}))
