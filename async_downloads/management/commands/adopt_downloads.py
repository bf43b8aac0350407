"""``manage.py adopt_downloads``: adopt the downloads of 0.6, and their files."""

from argparse import ArgumentParser
from collections import Counter
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError

from async_downloads import owners
from async_downloads.legacy import adoption
from async_downloads.management.console import counted
from async_downloads.store import cache_entries

#: The states in which downloads are adopted, with the words for them.
STATES: Final = {"complete": "complete", "failed": "failed", "pending": "in progress"}


class Command(BaseCommand):
    """The last step of the upgrade from 0.6; may be repeated."""

    help = "Adopts the downloads that version 0.6 kept in the cache, with their files."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--dry-run", action="store_true", help="Adopt nothing, and list what would be adopted."
        )
        parser.add_argument(
            "--collection",
            action="append",
            default=[],
            metavar="KEY",
            help="Also read the list under this collection key, for downloads whose owner is a "
            "text. May be given more than once.",
        )
        parser.add_argument(
            "--owner",
            metavar="USER",
            help="Give this user the files whose owner is unknown.",
        )

    def handle(
        self,
        *args: Any,
        dry_run: bool,
        collection: list[str],
        owner: str | None,
        **options: Any,
    ) -> None:
        """Adopt, and print the findings."""
        if not cache_entries.is_shared():
            self.stderr.write(
                "The processes do not share this cache, so that the entries of 0.6 cannot be "
                "read. Only files can be found."
            )
        findings = adoption.adopt(collection_keys=collection, owner=_owner(owner), dry_run=dry_run)
        counts: Counter[str] = Counter()
        people: set[str] = set()
        try:
            for finding in findings:
                counts[finding.outcome] += 1
                if finding.adopted:
                    people.add(finding.owner)
                if not finding.adopted or dry_run or options["verbosity"] > 1:
                    self._print(finding)
        except adoption.UnreadableCacheError as error:
            raise CommandError(f"{error}. Bring it back, and run this again.") from error
        self._sum_up(counts, len(people), dry_run=dry_run)

    def _print(self, finding: adoption.Finding) -> None:
        if finding.adopted:
            state = STATES[finding.outcome]
            self.stdout.write(f"  {finding.owner}: {finding.name} ({state})")
        elif finding.outcome == "ownerless":
            self.stdout.write(f"  without an owner: {finding.path}")
        elif finding.outcome == "refused":
            whose = f" of {finding.owner!r}" if finding.owner else ""
            self.stdout.write(f"  left alone: {finding.path}{whose}: {finding.reason}")

    def _sum_up(self, counts: Counter[str], people: int, *, dry_run: bool) -> None:
        adopted = sum(counts[state] for state in STATES)
        verb = "Would adopt" if dry_run else "Adopted"
        text = f"{verb} {counted(adopted, 'download')} of {counted(people, 'owner')}"
        states = [f"{counts[state]} {words}" for state, words in STATES.items() if counts[state]]
        self.stdout.write(f"{text}: {', '.join(states)}." if states else f"{text}.")
        if counts["known"]:
            self.stdout.write(f"{counted(counts['known'], 'download')} adopted before.")
        if counts["refused"]:
            self.stdout.write(f"{counted(counts['refused'], 'download')} left alone, see above.")
        if counts["ownerless"]:
            self.stdout.write(
                f"{counted(counts['ownerless'], 'file')} without an owner. "
                "With --owner USER they are adopted for that user; "
                "cleanup_downloads --orphans removes them."
            )


def _owner(name: str | None) -> owners.Owner | None:
    if name is None:
        return None
    try:
        owner = owners.resolve(name)
    except ValueError as error:
        raise CommandError(f"--owner: {error}") from error
    if owner.user_id is None:
        raise CommandError(f"No user is called {name!r}. Give --owner a user name.")
    return owner
