"""Resolve the ``user`` argument of the documented functions to the owner of a collection."""

import unicodedata
import uuid
from dataclasses import dataclass
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import router
from django.db.models import IntegerField, QuerySet

from async_downloads import settings

__all__ = ["MAX_LABEL_LENGTH", "Owner", "all_users", "check_text", "resolve"]

#: Characters of a label: as many as every supported database can index.
MAX_LABEL_LENGTH: Final = 500

#: Keeps the primary keys of collections apart from other UUIDs that are derived from names.
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

        It is derived from the owner, so that processes that insert the collection at
        once insert the same row, and so that no database takes two texts for one
        because of its collation.
        """
        owner = f"label {self.name}" if self.user_id is None else f"user {self.user_id}"
        return uuid.uuid5(_NAMESPACE, owner)

    @property
    def collection_key(self) -> str:
        """The key of the owner's collection, as ``COLLECTION_KEY_FORMAT`` makes it."""
        owner = self.name if self.user_id is None else self.user_id
        return settings.COLLECTION_KEY_FORMAT.format(owner)


def resolve(user: object) -> Owner:
    """Return the owner that a caller means.

    Args:
        user: A user, saved and not anonymous; or a user's primary key; or text,
            which is a user name if a user has exactly it, and stands for itself
            if none has. If primary keys are integers, a text never means one.

    Raises:
        ObjectDoesNotExist: No user has this primary key.
        TypeError: The argument cannot name an owner.
        ValueError: The user is anonymous or not saved, or the text is empty,
            longer than ``MAX_LABEL_LENGTH``, holds control characters or is the
            name of more than one user.
    """
    if isinstance(user, AnonymousUser):
        raise ValueError("An anonymous user cannot own downloads; ask for a sign-in first.")
    # A site's own model need not be made of Django's.
    if isinstance(user, (AbstractBaseUser, get_user_model())):
        # A default makes a primary key before the row exists.
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


def check_text(text: str) -> None:
    """Check that a text can be a user name or a label.

    Raises:
        ValueError: It cannot.
    """
    if not text.strip():
        raise ValueError("user must not be empty.")
    if len(text) > MAX_LABEL_LENGTH:
        raise ValueError(f"user is longer than {MAX_LABEL_LENGTH} characters.")
    if any(unicodedata.category(char) in {"Cc", "Cs"} for char in text):
        raise ValueError(f"user has characters that no name has: {text!r}.")


def all_users() -> "QuerySet[Any]":
    """Return all users, from the database that writes them: a replica may lack a new one."""
    user_model = get_user_model()
    return user_model._base_manager.using(router.db_for_write(user_model))


def _from_text(text: str) -> Owner:
    check_text(text)
    user = _user_called(text)
    # If keys are integers, the text "2024" must not mean one.
    if user is None and not _has_integer_key():
        # A UUID, as it travels through JSON; or a key that is text from the start.
        user = _user_with_key(text)
    return Owner(None, text) if user is None else Owner(user.pk, user.get_username())


def _user_called(text: str) -> Any:
    """Return the user whose name is this text, as it is or as the user model normalizes names.

    The database only proposes: a collation may compare without regard for case,
    accents and trailing spaces, and the files for "josé" must not go to "jose".

    Raises:
        ValueError: More than one user has this name.
    """
    user_model = get_user_model()
    normalize = getattr(user_model, "normalize_username", str)
    spellings = dict.fromkeys((text, normalize(text)))
    field = user_model.USERNAME_FIELD
    try:
        similar = list(all_users().filter(**{f"{field}__in": spellings}))
    except (ValueError, ValidationError):
        # User names are numbers, say, and this is not one.
        return None
    for spelling in spellings:
        same = [user for user in similar if str(getattr(user, field)) == spelling]
        if len(same) > 1:
            raise ValueError(f"user {text!r} is the name of more than one user.")
        if same:
            return same[0]
    return None


def _user_with_key(text: str) -> Any:
    """Return the user whose primary key this text spells; None if there is none."""
    try:
        user = all_users().filter(pk=text).first()
        same = user is not None and _key_field().to_python(text) == user.pk
    except (ValueError, ValidationError):
        return None
    return user if same else None


def _has_integer_key() -> bool:
    return isinstance(_key_field(), IntegerField)


def _key_field() -> Any:
    """Return the field that holds a user's primary key, of a parent if it is inherited."""
    field: Any = get_user_model()._meta.pk
    while field.remote_field is not None:
        field = field.target_field
    return field


def _from_primary_key(key: Any) -> Owner:
    try:
        user = all_users().get(pk=key)
    except (TypeError, ValueError, ValidationError) as error:
        raise TypeError(
            f"user must be a user, a primary key or a user name, not {key!r}."
        ) from error
    except ObjectDoesNotExist:
        user = None
    # A field may round the value, and return the user with the key 1 for 1.5.
    if user is None or user.pk != key:
        raise get_user_model().DoesNotExist(f"No user has the primary key {key!r}.")
    return Owner(user.pk, user.get_username())
