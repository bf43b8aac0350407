"""``manage.py adopt_downloads``: take over what 0.6 kept in its cache and in the storage."""

from argparse import ArgumentParser
from collections import Counter
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError

from async_downloads import owners
from async_downloads.legacy import adoption
from async_downloads.store import cache_entries

#: The states in which downloads are adopted, as they are told.
STATES: Final = {"complete": "complete", "failed": "failed", "pending": "in progress"}


class Command(BaseCommand):
    """The last step of moving over from 0.6; may be repeated."""

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
            help="Also look at the list under this collection key, for downloads of a text that "
            "is no user. May be given more than once.",
        )
        parser.add_argument(
            "--owner",
            metavar="USER",
            help="Give this user the files of which nothing tells any more whose they are.",
        )

    def handle(
        self,
        *args: Any,
        dry_run: bool,
        collection: list[str],
        owner: str | None,
        **options: Any,
    ) -> None:
        """Adopt, and tell what was found."""
        if not cache_entries.is_shared():
            self.stderr.write(
                "The cache is one that each process has for itself, so that nothing is known of "
                "what 0.6 kept there. Only files can be found."
            )
        findings = adoption.adopt(collection_keys=collection, owner=_owner(owner), dry_run=dry_run)
        found: Counter[str] = Counter()
        people: set[str] = set()
        try:
            for finding in findings:
                found[finding.outcome] += 1
                if finding.adopted:
                    people.add(finding.owner)
                if not finding.adopted or dry_run or options["verbosity"] > 1:
                    self._tell(finding)
        except adoption.UnreadableCacheError as error:
            raise CommandError(f"{error}. Bring it back, and run this again.") from error
        self._sum_up(found, len(people), dry_run=dry_run)

    def _tell(self, finding: adoption.Finding) -> None:
        if finding.adopted:
            state = STATES[finding.outcome]
            self.stdout.write(f"  {finding.owner}: {finding.name} ({state})")
        elif finding.outcome == "ownerless":
            self.stdout.write(f"  without an owner: {finding.path}")
        elif finding.outcome == "refused":
            whose = f" of {finding.owner!r}" if finding.owner else ""
            self.stdout.write(f"  left alone: {finding.path}{whose}: {finding.reason}")

    def _sum_up(self, found: Counter[str], people: int, *, dry_run: bool) -> None:
        adopted = sum(found[state] for state in STATES)
        verb = "Would adopt" if dry_run else "Adopted"
        text = f"{verb} {_count(adopted, 'download')} of {_count(people, 'owner')}"
        told = [f"{found[state]} {words}" for state, words in STATES.items() if found[state]]
        self.stdout.write(f"{text}: {', '.join(told)}." if told else f"{text}.")
        if found["known"]:
            self.stdout.write(f"{_count(found['known'], 'download')} adopted before.")
        if found["refused"]:
            self.stdout.write(f"{_count(found['refused'], 'download')} left alone, see above.")
        if found["ownerless"]:
            self.stdout.write(
                f"{_count(found['ownerless'], 'file')} without an owner. "
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
        raise CommandError(f"There is no user called {name!r}. Give --owner a user name.")
    return owner


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
