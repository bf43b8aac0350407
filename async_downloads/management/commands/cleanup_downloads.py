"""``manage.py cleanup_downloads``: remove expired downloads, or selected ones."""

import json
from argparse import ArgumentParser
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from async_downloads import store
from async_downloads.management.console import (
    ExitCode,
    Progress,
    counted,
    moment,
    number,
    plain_errors,
    readable_size,
)

#: Hours after which a file without a row is an orphan: longer than any task is likely to take.
ORPHAN_HOURS: Final = 24.0

EXPIRED: Final = store.Selection(states=frozenset({"expired"}))


@dataclass(slots=True)
class Result:
    """The numbers of what was removed, or would be.

    ``collections`` is None if unknown, and ``records`` without ``--ledger-before``.
    """

    noun: str
    downloads: int
    size: int
    collections: int | None
    left: int = 0
    failed: int = 0
    held: int = 0
    records: int | None = None


class Command(BaseCommand):
    """Run the clean-up, or remove selected downloads, or files that have no row."""

    help = (
        "Removes the downloads that have expired, with their files. With --owner, --state, "
        "--before or --after it removes the downloads that match all of these instead, expired "
        "or not. Exit status: 0 done, 1 not confirmed, 2 wrong options, 3 the database cannot be "
        "used, 130 interrupted."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--owner",
            help="Only the downloads of this owner: a user name, or a text that names no user.",
        )
        parser.add_argument(
            "--state",
            action="append",
            choices=store.SELECTABLE,
            default=[],
            help="Only downloads in this state; may be given several times.",
        )
        for name, when in (("before", "before this time"), ("after", "at this time or later")):
            parser.add_argument(
                f"--{name}",
                type=moment,
                metavar="TIME",
                help=f"Only downloads requested {when}: an ISO date or time, in the time zone of "
                "the site.",
            )
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="Remove nothing, and print the numbers.",
        )
        parser.add_argument(
            "--no-input",
            "--noinput",
            action="store_false",
            dest="interactive",
            help="Do not ask before removing downloads that have not expired.",
        )
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")
        parser.add_argument(
            "--orphans",
            action="store_true",
            help="Also remove files that belong to no download, and list them. Only folders that "
            "are named like a download are searched.",
        )
        parser.add_argument(
            "--ledger-before",
            type=moment,
            metavar="TIME",
            help="Also delete the records of files that were handed out before this time.",
        )
        parser.add_argument(
            "--min-age",
            type=number,
            default=ORPHAN_HOURS,
            metavar="HOURS",
            help="How old such a file must be (default: %(default)g).",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Clean up, and print the numbers."""
        dry_run: bool = options["dry_run"]
        with plain_errors():
            selection = self._selection(options)
            if selection is None:
                result = self._remove_expired(dry_run=dry_run)
            else:
                result = self._remove(selection, options["interactive"], dry_run=dry_run)
            orphans = None
            if options["orphans"]:
                age = timedelta(hours=options["min_age"])
                orphans = store.remove_orphans(min_age=age, dry_run=dry_run)
            if options["ledger_before"]:
                result.records = store.age_out_ledger(options["ledger_before"], dry_run=dry_run)
            show = self._print_json if options["json"] else self._print
            show(result, orphans, dry_run=dry_run)

    def _selection(self, options: dict[str, Any]) -> store.Selection | None:
        """Return the selection that the options describe; None without such options."""
        owner, before, after = options["owner"], options["before"], options["after"]
        if owner is None and before is None and after is None and not options["state"]:
            return None
        # Downloads that start during the question are not part of it.
        now = timezone.now()
        before = now if before is None else min(before, now)
        if after is not None and after >= before:
            raise CommandError(
                "--after must be earlier than --before, and than now.", returncode=ExitCode.USAGE
            )
        try:
            collections = None if owner is None else store.collections_of(owner)
        except (LookupError, ValueError) as error:
            raise CommandError(f"--owner: {error}", returncode=ExitCode.USAGE) from None
        return store.Selection(
            requested_from=after,
            requested_before=before,
            collections=collections,
            states=frozenset(options["state"]),
        )

    def _remove_expired(self, *, dry_run: bool) -> Result:
        # The count is for the progress bar only.
        total = store.survey(EXPIRED).downloads if self.stderr.isatty() else 0
        with Progress(self.stderr, total) as progress:
            done = store.clean_up(
                dry_run=dry_run, after_each=lambda done: progress.show(done.downloads)
            )
        return Result(
            "expired download",
            done.downloads,
            done.size,
            done.collections,
            done.left,
            done.failed,
            store.count_held(),
        )

    def _remove(self, selection: store.Selection, interactive: bool, *, dry_run: bool) -> Result:
        survey = store.survey(selection)
        if dry_run:
            return Result("download", survey.downloads, survey.size, None, held=survey.held)
        if interactive and survey.active:
            self._confirm(survey)
        with Progress(self.stderr, survey.downloads) as progress:
            done = store.remove_selected(
                selection, after_each=lambda done: progress.show(done.downloads)
            )
        return Result(
            "download", done.downloads, done.size, done.collections, done.left, held=survey.held
        )

    def _confirm(self, survey: store.Survey) -> None:
        """Ask whether to remove downloads that their owners still see.

        Raises:
            CommandError: The answer is not "yes".
        """
        total = f"{counted(survey.downloads, 'download')} ({readable_size(survey.size)})"
        question = f"This removes {total}, of which {survey.active} not expired"
        if survey.in_progress:
            question += f" and {survey.in_progress} in progress, to be cancelled"
        # Standard output is for the result.
        self.stderr.write(f'{question}. Type "yes" to go on: ', style_func=str, ending="")
        self.stderr.flush()
        try:
            answer = input()
        except EOFError:
            answer = ""
            self.stderr.write("", style_func=str)
        if answer.strip() != "yes":
            raise CommandError(
                "Not confirmed, so nothing was removed. To run without the question, give "
                "--no-input.",
                returncode=ExitCode.WRONG,
            )

    def _print(self, result: Result, orphans: Iterable[str] | None, *, dry_run: bool) -> None:
        verb = "Would remove" if dry_run else "Removed"
        size = readable_size(result.size)
        self.stdout.write(f"{verb} {counted(result.downloads, result.noun)} ({size}).")
        if result.left:
            self.stdout.write(
                f"{'Would leave' if dry_run else 'Left'} {counted(result.left, 'download')} that "
                "is being written, is locked or has changed meanwhile."
            )
        if result.held:
            self.stdout.write(
                f"{'Would keep' if dry_run else 'Kept'} {counted(result.held, 'download')} that "
                "staff hold."
            )
        if result.failed:
            failed = f"{'Would fail' if dry_run else 'Failed'} {counted(result.failed, 'download')}"
            self.stdout.write(f"{failed} that no worker has finished in time.")
        if result.collections:
            self.stdout.write(f"{verb} {counted(result.collections, 'empty collection')}.")
        if result.records is not None:
            self.stdout.write(f"{verb} {counted(result.records, 'fetch record')}.")
        if orphans is not None:
            count = 0
            for path in orphans:
                count += 1
                self.stdout.write(f"  {path}")
            self.stdout.write(f"{verb} {counted(count, 'orphan file')}.")

    def _print_json(self, result: Result, orphans: Iterable[str] | None, *, dry_run: bool) -> None:
        numbers: dict[str, int | None] = {
            "dry_run": dry_run,
            "downloads": result.downloads,
            "bytes": result.size,
            "collections": result.collections,
            "left": result.left,
            "held": result.held,
        }
        if result.records is not None:
            numbers["records"] = result.records
        text = json.dumps(numbers)
        if orphans is None:
            self.stdout.write(text)
            return
        # Path by path, because there may be millions.
        self.stdout.write(f'{text[:-1]}, "orphans": [', ending="")
        for index, path in enumerate(orphans):
            self.stdout.write(f"{', ' * bool(index)}{json.dumps(path)}", ending="")
        self.stdout.write("]}")
