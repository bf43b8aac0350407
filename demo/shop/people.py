"""The users of the demo. The sign-in page shows all of this."""

from typing import Any, Final, NamedTuple

__all__ = ["SIGN_INS", "SignIn", "teams_of"]


class SignIn(NamedTuple):
    """A user of the demo, whose password is public."""

    username: str
    password: str
    full_name: str
    is_staff: bool = False
    team: str = ""
    leads_team: bool = False

    @property
    def role(self) -> str:
        """The kind of user, as the sign-in page names it."""
        if self.is_staff:
            return "staff"
        if self.team:
            return f"{'leads ' if self.leads_team else ''}{self.team}"
        return "customer"


SIGN_INS: Final = (
    SignIn("ada", "ada-paper-kite", "Ada Lovelace", team="Sales", leads_team=True),
    SignIn("joan", "joan-grey-seal", "Joan Clarke", team="Sales"),
    SignIn("grace", "grace-blue-ink", "Grace Hopper"),
    SignIn("admin", "admin-red-wax", "Mary Somerville", is_staff=True),
)


def teams_of(user: Any) -> Any:
    """Return the groups of a user, by one query; ``ASYNC_DOWNLOADS_MEMBERS`` names this."""
    return user.groups.all()
