"""Create downloads of many owners, and queue the tasks that build them."""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.db import Error as DatabaseFault
from django.db.models import QuerySet

from async_downloads import executors, owners, store
from async_downloads.executors import starting
from async_downloads.models import Call, Download
from async_downloads.store import RequestedFile
from async_downloads.utils import error_text

__all__ = ["StartedDownloads", "call_of", "start_all"]

#: Users of one transaction.
BATCH_SIZE: Final = 500

#: Characters of arguments in one transaction: a database refuses a statement that is too long.
MAX_CHARACTERS: Final = 1_000_000


@dataclass(slots=True)
class StartedDownloads:
    """What ``start_downloads`` has done for each user.

    Attributes:
        started: The collection key and the download key of each new download.
        skipped: The collection keys of those whose last one is unfinished, or fresh enough.
        at_limit: The collection keys of those who have ``ASYNC_DOWNLOADS_MAX_ACTIVE`` downloads
            in progress.
        unknown: The primary keys that no user has.
    """

    started: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    at_limit: list[str] = field(default_factory=list)
    unknown: list[Any] = field(default_factory=list)


def start_all(
    task: Any,
    users: Iterable[Any],
    names: tuple[str, str],
    call_for: Callable[[Any], Call],
    *,
    unless_unfinished: bool,
    fresh_for: float,
    lifetime: timedelta | None,
) -> StartedDownloads:
    """Create a download for each user, batch by batch, and queue its task.

    Args:
        task: The task, or its dotted path.
        users: Users, primary keys, user names or labels.
        names: The name of the file, and the name in the list.
        call_for: Returns the call, given a user or a label.
        unless_unfinished: As for ``store.create_all``.
        fresh_for: Likewise.
        lifetime: As for ``RequestedFile``.

    Raises:
        Exception: ``call_for`` raised it, or one of the users cannot own downloads. The batches
            before have been started.
    """
    outcome = StartedDownloads()
    seen = set[uuid.UUID]()
    for batch in _batches(_keys_of(users)):
        requests = []
        for user, resolved in zip(batch, owners.resolve_all(batch), strict=True):
            if resolved is None:
                outcome.unknown.append(user)
            elif (owner := resolved[0]).collection_id not in seen:
                seen.add(owner.collection_id)
                requests.append(RequestedFile(owner, *names, call_for(resolved[1]), lifetime))
        for some in _in_statements(requests):
            creation = store.create_all(
                some, unless_unfinished=unless_unfinished, fresh_for=fresh_for
            )
            _add(outcome, creation)
            _queue_all(task, creation.created)
    return outcome


def call_of(task: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
    """Return a call that rows record, and before which a worker asks for the owner's rights.

    Raises:
        Exception: The queue cannot carry the arguments, or they do not fit the task.
        ValueError: A row cannot record it.
    """
    starting.check(task, str(uuid.uuid4()), args, kwargs)
    call = Call.recordable(executors.dotted_path(task), args, kwargs)
    if call is None:
        raise ValueError(
            f"{task!r} with args={args!r} and kwargs={kwargs!r} cannot be recorded. A task needs "
            "a dotted path, and arguments of plain JSON types."
        )
    return call._replace(asks_first=True)


def _keys_of(users: Iterable[Any]) -> Iterable[Any]:
    """Return primary keys instead of the users of a queryset.

    It is read before anything is written: on SQLite, a connection that still reads rows cannot
    write if another process has written since.
    """
    if not isinstance(users, QuerySet):
        return users
    rows = users.iterator(chunk_size=BATCH_SIZE)
    user_model = get_user_model()
    return [row.pk if isinstance(row, user_model) else row for row in rows]


def _batches(users: Iterable[Any]) -> Iterator[list[Any]]:
    iterator = iter(users)
    while batch := list(islice(iterator, BATCH_SIZE)):
        yield batch


def _in_statements(requests: Iterable[RequestedFile]) -> Iterator[list[RequestedFile]]:
    """Yield as many requests at a time as may be in one statement."""
    some: list[RequestedFile] = []
    characters = 0
    for request in requests:
        added = len(request.call.arguments) if request.call else 0
        if some and characters + added > MAX_CHARACTERS:
            yield some
            some, characters = [], 0
        some.append(request)
        characters += added
    if some:
        yield some


def _add(outcome: StartedDownloads, creation: store.Creation) -> None:
    outcome.started += [
        (request.owner.collection_key, download.download_key)
        for download, request in creation.created
    ]
    outcome.skipped += [owner.collection_key for owner in creation.skipped]
    outcome.at_limit += [owner.collection_key for owner in creation.at_limit]
    outcome.unknown += [owner.user_id for owner in creation.unknown]


class _NotQueuedError(Exception):
    """A queue has raised an exception, which is the first argument."""


def _queue_all(task: Any, created: list[tuple[Download, RequestedFile]]) -> None:
    """Queue the tasks of new downloads, once the surrounding transaction has committed.

    If the queue cannot be reached, the downloads that are not queued are failed, without an
    attempt at each: it may take seconds until a queue that is away is given up.
    """
    calls = {download.pk: request.call for download, request in created if request.call}
    batch = executors.batch_for(task)

    def queue_now() -> None:
        waiting = dict(calls)
        try:
            with batch:
                for pk, call in calls.items():
                    arguments = tuple(call.args), call.kwargs
                    if error := starting.queue_at_once(task, str(pk), *arguments):
                        raise _NotQueuedError(error)
                    del waiting[pk]
        except (_NotQueuedError, DatabaseFault) as error:
            cause = error.args[0] if isinstance(error, _NotQueuedError) else error
            # One transaction has queued all of them, or none.
            failed = waiting if isinstance(batch, nullcontext) else calls
            detail = error_text.for_staff(cause)
            store.set_errors(failed, starting.COULD_NOT_BE_QUEUED, detail=detail)

    store.after_commit(queue_now)
