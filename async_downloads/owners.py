"""Resolve the ``user`` argument of the documented functions to the owner of a collection."""

import unicodedata
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeGuard

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ValidationError
from django.db import router
from django.db.models import IntegerField, Model, QuerySet, UUIDField

from async_downloads import settings

__all__ = [
    "MAX_LABEL_LENGTH",
    "Owner",
    "Team",
    "all_users",
    "check_text",
    "deleted",
    "is_user",
    "name_of",
    "of_instance",
    "resolve",
    "resolve_all",
    "signed_in",
]

#: Characters of a label: as many as every supported database can index.
MAX_LABEL_LENGTH: Final = 500

#: Integers below it fit into any column of primary keys; a query that has others may fail.
MAX_BATCHED_KEY: Final = 2**31

#: Keeps the primary keys of collections apart from other UUIDs that are derived from names.
_NAMESPACE: Final = uuid.UUID("5d1b1f0c-6a0e-4a6b-9c55-0f9d2f3a7e41")


@dataclass(frozen=True, slots=True)
class Owner:
    """The owner of a collection: a user, or a text that stands for itself.

    Attributes:
        user_id: The user's primary key; None for a text.
        name: The user's name as the user model gives it, or the text.
        teams: The teams whose downloads the user sees as well; see ``teams.Member``.
    """

    user_id: Any
    name: str
    teams: "tuple[Team, ...]" = ()

    @property
    def collection_id(self) -> uuid.UUID:
        """The primary key of the owner's collection.

        It is derived from the owner, so that processes that insert the collection at
        once insert the same row, and so that no database takes two texts for one
        because of its collation.
        """
        owner = f"label {self.name}" if self.user_id is None else f"user {self.user_id}"
        return _uuid_of(owner)

    @property
    def collection_key(self) -> str:
        """The key of the owner's collection, as ``COLLECTION_KEY_FORMAT`` makes it."""
        owner = self.name if self.user_id is None else self.user_id
        return settings.COLLECTION_KEY_FORMAT.format(owner)

    @property
    def visible(self) -> "list[Owner]":
        """The owner, and those of the downloads of their teams."""
        return [self, *(team.owner for team in self.teams)]

    @property
    def may_change_teams(self) -> bool:
        """Whether the user may clear, cancel and build again the downloads of their teams."""
        return False


@dataclass(frozen=True, slots=True)
class Team:
    """A label whose downloads several people see.

    Attributes:
        owner: The owner of the downloads, a label.
        title: The name of the team, for people.
    """

    owner: Owner
    title: str

    def __str__(self) -> str:
        return self.title


def resolve(user: object) -> Owner:
    """Return the owner that a caller means.

    Args:
        user: A user, saved and not anonymous; or a user's primary key; or text,
            which is a user name if a user has exactly it, and stands for itself
            if none has. If primary keys are integers, a text never means one.
            Any other saved model instance stands for itself, such as a group.

    Raises:
        ObjectDoesNotExist: No user has this primary key.
        TypeError: The argument cannot name an owner.
        ValueError: The user or instance is anonymous or not saved, or the text is empty,
            longer than ``MAX_LABEL_LENGTH``, holds control characters or is the
            name of more than one user.
    """
    if isinstance(user, AnonymousUser):
        raise ValueError("An anonymous user cannot own downloads; ask for a sign-in first.")
    if is_user(user):
        # A default makes a primary key before the row exists.
        if user.pk is None or (user._state.adding and user._meta.pk.has_default()):
            raise ValueError(f"{user!r} is not saved yet, so it cannot own downloads.")
        return _owner(user)
    if isinstance(user, Model):
        return of_instance(user)
    if isinstance(user, str):
        return _from_text(user)
    found = _user_with_primary_key(user)
    if found is None:
        raise get_user_model().DoesNotExist(f"No user has the primary key {user!r}.")
    return _owner(found)


def signed_in(user: Any) -> Owner:
    """Return the owner that the signed-in user of a request is.

    Such a user has a row, unless a site's own authentication makes one up. Each look at a user
    that a request loads lazily takes long, so that it is not asked what else it may be.

    Raises:
        ValueError: It has no primary key.
    """
    return resolve(user) if user.pk is None else _owner(user)


def resolve_all(users: Sequence[object]) -> list[tuple[Owner, Any] | None]:
    """Return the owner that each of some users means, and the user or the text, in few queries.

    Args:
        users: As for ``resolve``, as many as fit into one query.

    Returns:
        None for a primary key that no user has.

    Raises:
        TypeError: One of them cannot name an owner.
        ValueError: A user is anonymous or not saved, or a text cannot name an owner.
    """
    named = _users_by_text([user for user in users if isinstance(user, str)])
    with_keys = _users_by_key([user for user in users if _is_batched(user)])

    def resolve_one(user: Any) -> tuple[Owner, Any] | None:
        if isinstance(user, str):
            meant = named.get(user)
            return (Owner(None, user), user) if meant is None else (_owner(meant), meant)
        if is_user(user) or isinstance(user, Model):
            return resolve(user), user
        meant = with_keys.get(user) if _is_batched(user) else _user_with_primary_key(user)
        return None if meant is None else (_owner(meant), meant)

    return list(map(resolve_one, users))


def deleted(owners: Iterable[Owner]) -> list[Owner]:
    """Return those of some owners that are users whose row is gone."""
    users = {owner.user_id: owner for owner in owners if owner.user_id is not None}
    present = set(all_users().filter(pk__in=users).values_list("pk", flat=True))
    return [owner for key, owner in users.items() if key not in present]


def name_of(user: Any) -> str:
    """Return the name of a user as text: user names may be numbers, or missing."""
    name = user.get_username()
    return "" if name is None else str(name)


def of_instance(instance: Model) -> Owner:
    """Return the owner that a model instance other than a user stands for.

    It is the label ``<app label>.<model name>:<primary key>``, such as ``auth.group:3``. A proxy
    model has the name of its concrete model.

    Raises:
        ValueError: The instance is not saved.
    """
    if instance.pk is None or instance._state.adding:
        raise ValueError(f"{instance!r} is not saved yet, so it cannot own downloads.")
    concrete: Any = instance._meta.concrete_model
    label = f"{concrete._meta.label_lower}:{instance.pk}"
    check_text(label)
    return Owner(None, label)


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


def is_user(user: object) -> TypeGuard[AbstractBaseUser]:
    """Return whether an object is a user, perhaps anonymous.

    A site's own model need not be made of Django's.
    """
    if isinstance(user, (AbstractBaseUser, AnonymousUser)):
        return True
    # To look up the model takes longer than all else here.
    return isinstance(user, get_user_model())


def all_users() -> "QuerySet[Any]":
    """Return all users, from the database that writes them: a replica may lack a new one."""
    user_model = get_user_model()
    return user_model._base_manager.using(router.db_for_write(user_model))


@lru_cache(maxsize=1000)
def _uuid_of(owner: str) -> uuid.UUID:
    # A page view needs it several times, and a cryptographic hash takes long.
    return uuid.uuid5(_NAMESPACE, owner)


def _owner(user: Any) -> Owner:
    return Owner(user.pk, name_of(user))


def _from_text(text: str) -> Owner:
    user = _users_by_text([text]).get(text)
    return Owner(None, text) if user is None else _owner(user)


def _users_by_text(texts: Sequence[str]) -> dict[str, Any]:
    """Return the users that texts mean, without the texts that stand for themselves.

    Raises:
        ValueError: A text cannot name an owner.
    """
    if not texts:
        return {}
    for text in texts:
        check_text(text)
    users = _users_called(texts)
    # If keys are integers, the text "2024" must not mean one.
    if not _has_integer_key():
        # A UUID, as it travels through JSON; or a key that is text from the start.
        others = ((text, _user_with_key(text)) for text in texts if text not in users)
        users |= {text: user for text, user in others if user is not None}
    return users


def _users_called(texts: Sequence[str]) -> dict[str, Any]:
    """Return the users whose names are these texts, as they are or as the user model spells names.

    The database only proposes: a collation may compare without regard for case,
    accents and trailing spaces, and the files for "josé" must not go to "jose".

    Raises:
        ValueError: More than one user has one of these names.
    """
    user_model = get_user_model()
    normalize = getattr(user_model, "normalize_username", str)
    spellings = {text: dict.fromkeys((text, normalize(text))) for text in texts}
    field = user_model.USERNAME_FIELD
    try:
        similar = list(all_users().filter(**{f"{field}__in": set().union(*spellings.values())}))
    except (ValueError, ValidationError):
        # User names are numbers, say, and one of these is not.
        each = (_users_called([text]) for text in texts if len(texts) > 1)
        return {text: user for users in each for text, user in users.items()}
    by_name: dict[str, list[Any]] = {}
    for user in similar:
        by_name.setdefault(str(getattr(user, field)), []).append(user)
    users = {}
    for text, names in spellings.items():
        same = next((by_name[name] for name in names if name in by_name), [])
        if len(same) > 1:
            raise ValueError(f"user {text!r} is the name of more than one user.")
        if same:
            users[text] = same[0]
    return users


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


def _is_batched(user: object) -> bool:
    """Return whether this is a primary key that can be in one query with others.

    A field may refuse or round other values, so each of those has a query of its own.
    """
    if _has_integer_key():
        return type(user) is int and abs(user) < MAX_BATCHED_KEY
    return isinstance(user, uuid.UUID) and isinstance(_key_field(), UUIDField)


def _users_by_key(keys: Sequence[Any]) -> dict[Any, Any]:
    return {user.pk: user for user in all_users().filter(pk__in=keys)} if keys else {}


def _user_with_primary_key(key: Any) -> Any:
    """Return the user with this primary key; None if there is none.

    Raises:
        TypeError: It cannot be a primary key.
    """
    if key is None or isinstance(key, (bool, float, bytes)):
        raise TypeError(
            f"user must be a user, a primary key or a user name, not {type(key).__name__}."
        )
    try:
        user = all_users().filter(pk=key).first()
    except (TypeError, ValueError, ValidationError) as error:
        raise TypeError(
            f"user must be a user, a primary key or a user name, not {key!r}."
        ) from error
    # A field may round the value, and return the user with the key 1 for 1.5.
    return user if user is not None and user.pk == key else None
