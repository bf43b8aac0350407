"""The teams of a person, as the site's function says, whose downloads they see with their own."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.db.models import Model
from django.http import HttpRequest

from async_downloads import owners, settings
from async_downloads.owners import Owner, Team
from async_downloads.utils.log import get_logger
from async_downloads.utils.site_functions import site_function

__all__ = ["MAX_TEAMS", "PERMISSION", "Member", "owner_of", "with_current_teams"]

logger = get_logger(__name__)

#: Teams of one person: each adds a key to every read of the cache.
MAX_TEAMS: Final = 50

#: The permission to clear, cancel and build again the downloads of one's teams.
PERMISSION: Final = "clear_team_downloads"

#: The attribute of a request that keeps its owner.
_OWNER_ATTRIBUTE: Final = "_async_downloads_owner"


@dataclass(frozen=True)
class Member(Owner):
    """An owner who also sees the downloads of teams.

    Attributes:
        user: The user.
    """

    user: Any = None

    @cached_property
    def may_change_teams(self) -> bool:
        """Whether the user may clear, cancel and build again the downloads of their teams.

        It is read when the first such download is shown, and costs the queries of Django's
        permissions. A site's user model need not have permissions.
        """
        if not hasattr(self.user, "has_perm"):
            return False
        return bool(self.user.has_perm(f"async_downloads.{PERMISSION}"))


def owner_of(request: HttpRequest | None, user: Any = None) -> Owner:
    """Return the signed-in user of a request as an owner, with their teams.

    The site's function is called once for each request.

    Args:
        request: The request; None if a page is rendered without one.
        user: The user, if it is not the request's.
    """
    user = getattr(request, "user", None) if user is None else user
    if not settings.MEMBERS:
        return owners.signed_in(user)
    kept: Owner | None = getattr(request, _OWNER_ATTRIBUTE, None)
    # A view may sign another user in.
    if kept is None or kept.user_id != user.pk:
        kept = _with_teams(user)
        if request is not None:
            setattr(request, _OWNER_ATTRIBUTE, kept)
    return kept


def with_current_teams(owner: Owner) -> Owner:
    """Return an owner with the teams that they have now: for sockets, which outlive a request.

    Args:
        owner: The owner, who has a user.
    """
    if not settings.MEMBERS:
        return owner
    # The instance of the handshake keeps the columns and permissions that it has read.
    user = owners.all_users().filter(pk=owner.user_id).first()
    return Owner(owner.user_id, owner.name) if user is None else _with_teams(user)


def _with_teams(user: Any) -> Owner:
    owner = owners.resolve(user)
    try:
        teams = _teams(site_function("MEMBERS")(user))
    except Exception:
        logger.exception(
            "User %s sees no team downloads: ASYNC_DOWNLOADS_MEMBERS failed", owner.user_id
        )
        teams = ()
    return Member(owner.user_id, owner.name, teams, user) if teams else owner


def _teams(answer: object) -> tuple[Team, ...]:
    """Return the teams that the site's function returned, each once.

    Raises:
        TypeError: The result is not an iterable of labels and model instances.
        ValueError: A label is not possible, an instance is not saved, or there are too many.
    """
    if isinstance(answer, (str, bytes)) or not isinstance(answer, Iterable):
        raise TypeError(f"It must return an iterable of teams, not {type(answer).__name__}.")
    values = list(islice(answer, MAX_TEAMS + 1))
    if len(values) > MAX_TEAMS:
        raise ValueError(f"It returned more than {MAX_TEAMS} teams.")
    teams = {team.owner.collection_id: team for team in map(_team, values)}
    return tuple(teams.values())


def _team(value: object) -> Team:
    if isinstance(value, str):
        owners.check_text(value)
        # A text never means a user here: it would show the files of one person to another.
        return Team(Owner(None, str(value)), str(value))
    if isinstance(value, Model) and not isinstance(value, (AbstractBaseUser, get_user_model())):
        return Team(owners.of_instance(value), str(value))
    raise TypeError(f"A team is a label or a model instance other than a user, not {value!r}.")
