"""Find the owners that 0.6 knew by their user names."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist

from async_downloads import owners
from async_downloads.owners import Owner

__all__ = ["resolve_names", "user_names"]


def user_names(batch_size: int) -> Iterator[list[str]]:
    """Yield the names of all users, from which 0.6 made collection keys, in batches."""
    users = owners.all_users().order_by("pk").values_list("pk", _name_field())
    batch = list(users[:batch_size])
    while batch:
        yield [name for _, name in batch if name]
        batch = list(users.filter(pk__gt=batch[-1][0])[:batch_size])


def resolve_names(names: Iterable[str]) -> dict[str, Owner]:
    """Return the owners of names that 0.6 kept: users, by one query, and labels.

    Returns:
        The owners by these names, without names that are not valid, or that more
        than one user has.
    """
    wanted = set()
    for name in names:
        with suppress(ValueError):
            owners.check_text(name)
            wanted.add(name)
    field = _name_field()
    users: dict[str, list[Any]] = {}
    for user in owners.all_users().filter(**{f"{field}__in": wanted}):
        users.setdefault(getattr(user, field), []).append(user)
    resolved = {
        name: Owner(named[0].pk, owners.name_of(named[0]))
        for name, named in users.items()
        if len(named) == 1 and name in wanted
    }
    for name in wanted - users.keys():
        with suppress(ValueError):
            resolved[name] = _exactly(name)
    return resolved


def _exactly(text: str) -> Owner:
    """Return the user who signs in by a text, or the text.

    A user whose primary key is spelled like the name of another, or whose name is
    normalized to another text, would get the files of that other owner.
    """
    owner = owners.resolve(text)
    return owner if owner.name == text else Owner(None, text)


def _name_field() -> str:
    """Return the field that 0.6 read: ``username``, whichever field users sign in by."""
    user_model = get_user_model()
    try:
        return str(user_model._meta.get_field("username").name)
    except FieldDoesNotExist:
        return str(user_model.USERNAME_FIELD)
