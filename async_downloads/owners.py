"""Whom a caller means by ``user``."""

import unicodedata
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import FieldDoesNotExist, ObjectDoesNotExist, ValidationError
from django.db import router
from django.db.models import IntegerField, Model, QuerySet

from async_downloads import settings

__all__ = ["MAX_LABEL_LENGTH", "Owner", "old_names", "resolve", "resolve_old_names"]

#: Characters of a label: as many as every supported database can index.
MAX_LABEL_LENGTH: Final = 500

#: What sets the primary keys of collections apart from other UUIDs made of names.
_NAMESPACE: Final = uuid.UUID("5d1b1f0c-6a0e-4a6b-9c55-0f9d2f3a7e41")


@dataclass(frozen=True, slots=True)
class Owner:
    """The owner of a collection: a user, or a text that stands for itself.

    Attributes:
        user_id: The user's primary key; None for a text.
        name: The user's name as the user model gives it, or the text.
    """

    user_id: Any
    name: str

    @property
    def collection_id(self) -> uuid.UUID:
        """The primary key of the owner's collection.

        It is made of the owner, so that processes that make the collection at
        once make the same row, and so that no collation of a database takes two
        texts for one.
        """
        owner = f"label {self.name}" if self.user_id is None else f"user {self.user_id}"
        return uuid.uuid5(_NAMESPACE, owner)

    @property
    def collection_key(self) -> str:
        """The key of the owner's collection, as ``COLLECTION_KEY_FORMAT`` makes it."""
        owner = self.name if self.user_id is None else self.user_id
        return settings.COLLECTION_KEY_FORMAT.format(owner)


def resolve(user: object) -> Owner:
    """Find out whom a caller means.

    Args:
        user: A user, saved and not anonymous; or a user's primary key; or text,
            which is a user name if a user has exactly it, and stands for itself
            if none has. Where users are numbered, no text is a primary key.

    Raises:
        ObjectDoesNotExist: There is no user with this primary key.
        TypeError: This is nothing that names an owner.
        ValueError: The user is anonymous or not saved, or the text is empty,
            longer than ``MAX_LABEL_LENGTH``, holds control characters or is the
            name of more than one user.
    """
    if isinstance(user, AnonymousUser):
        raise ValueError("An anonymous user cannot own downloads; ask for a sign-in first.")
    # A site's own model need not be made of Django's.
    if isinstance(user, (AbstractBaseUser, get_user_model())):
        # A key that a default makes is there before the row is.
        if user.pk is None or (user._state.adding and user._meta.pk.has_default()):
            raise ValueError(f"{user!r} is not saved yet, so it cannot own downloads.")
        return Owner(user.pk, user.get_username())
    if isinstance(user, str):
        return _from_text(user)
    if user is None or isinstance(user, (bool, float, bytes)):
        raise TypeError(
            f"user must be a user, a primary key or a user name, not {type(user).__name__}."
        )
    return _from_primary_key(user)


def old_names(batch_size: int) -> Iterator[list[str]]:
    """Yield the names of all users, as 0.6 made collection keys of them, in batches."""
    user_model = get_user_model()
    field = _old_name_field(user_model)
    users = _users(user_model).order_by("pk").values_list("pk", field)
    batch = list(users[:batch_size])
    while batch:
        yield [name for _, name in batch if name]
        batch = list(users.filter(pk__gt=batch[-1][0])[:batch_size])


def resolve_old_names(names: Iterable[str]) -> dict[str, Owner]:
    """Find out whom names mean that 0.6 kept: users by one query, and labels.

    Returns:
        The owners by these names, without names that nobody can have, or more
        than one user has.
    """
    wanted = set()
    for name in names:
        with suppress(ValueError):
            _check_text(name)
            wanted.add(name)
    user_model = get_user_model()
    field = _old_name_field(user_model)
    users: dict[str, list[Any]] = {}
    for user in _users(user_model).filter(**{f"{field}__in": wanted}):
        users.setdefault(getattr(user, field), []).append(user)
    found = {
        name: Owner(called[0].pk, called[0].get_username())
        for name, called in users.items()
        if len(called) == 1 and name in wanted
    }
    for name in wanted - users.keys():
        with suppress(ValueError):
            found[name] = _exactly(name)
    return found


def _exactly(text: str) -> Owner:
    """Return the user who signs in by a text, or the text.

    A user whose primary key is spelled like the name of another, or whose name is
    normalized to another text, would get the files of that other owner.
    """
    owner = _from_text(text)
    return owner if owner.name == text else Owner(None, text)


def _old_name_field(user_model: Any) -> str:
    """Return the field that 0.6 took a user's name from: ``username``, whatever one signs in by."""
    try:
        return str(user_model._meta.get_field("username").name)
    except FieldDoesNotExist:
        return str(user_model.USERNAME_FIELD)


def _check_text(text: str) -> None:
    if not text.strip():
        raise ValueError("user must not be empty.")
    if len(text) > MAX_LABEL_LENGTH:
        raise ValueError(f"user is longer than {MAX_LABEL_LENGTH} characters.")
    if any(unicodedata.category(char) in {"Cc", "Cs"} for char in text):
        raise ValueError(f"user has characters that no name has: {text!r}.")


def _from_text(text: str) -> Owner:
    _check_text(text)
    user_model = get_user_model()
    user = _user_called(user_model, text)
    if user is None and not _has_integer_key(user_model):
        # A UUID, as it travels through JSON; or a key that is text from the start.
        user = _user_with_key(user_model, text)
    return Owner(None, text) if user is None else Owner(user.pk, user.get_username())


def _user_called(user_model: Any, text: str) -> Any:
    """Return the user whose name is this text, as it is or as the user model normalizes names.

    The database only proposes: a collation may compare without regard for case,
    accents and trailing spaces, and the files for "josé" must not go to "jose".

    Raises:
        ValueError: More than one user has this name.
    """
    normalize = getattr(user_model, "normalize_username", str)
    spellings = dict.fromkeys((text, normalize(text)))
    field = user_model.USERNAME_FIELD
    try:
        similar = list(_users(user_model).filter(**{f"{field}__in": spellings}))
    except (ValueError, ValidationError):
        # Users go by numbers, say, and this is not one.
        return None
    for spelling in spellings:
        same = [user for user in similar if str(getattr(user, field)) == spelling]
        if len(same) > 1:
            raise ValueError(f"user {text!r} is the name of more than one user.")
        if same:
            return same[0]
    return None


def _user_with_key(user_model: Any, text: str) -> Any:
    """Return the user whose primary key this text spells; None if there is none."""
    try:
        user = _users(user_model).filter(pk=text).first()
        same = user is not None and _key_field(user_model).to_python(text) == user.pk
    except (ValueError, ValidationError):
        return None
    return user if same else None


def _users(user_model: type[Model]) -> "QuerySet[Any]":
    """Return all users, from where they are written: a copy may not know a new one yet."""
    return user_model._base_manager.using(router.db_for_write(user_model))


def _has_integer_key(user_model: type[Model]) -> bool:
    """Return whether users are numbered, so that the text "2024" must not mean one of them."""
    return isinstance(_key_field(user_model), IntegerField)


def _key_field(user_model: type[Model]) -> Any:
    """Return the field that a user's primary key is kept in, of a parent if it is inherited."""
    field: Any = user_model._meta.pk
    while field.remote_field is not None:
        field = field.target_field
    return field


def _from_primary_key(key: Any) -> Owner:
    user_model = get_user_model()
    try:
        found = _users(user_model).get(pk=key)
    except (TypeError, ValueError, ValidationError) as error:
        raise TypeError(
            f"user must be a user, a primary key or a user name, not {key!r}."
        ) from error
    except ObjectDoesNotExist:
        found = None
    # A field may round what it looks up, and hand 1.5 to the user with the key 1.
    if found is None or found.pk != key:
        raise user_model.DoesNotExist(f"There is no user with the primary key {key!r}.")
    return Owner(found.pk, found.get_username())
