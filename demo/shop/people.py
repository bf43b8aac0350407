"""The users of the demo. The sign-in page shows all of this."""

from typing import Final, NamedTuple

__all__ = ["SIGN_INS", "SignIn"]


class SignIn(NamedTuple):
    """A user of the demo, whose password is public."""

    username: str
    password: str
    full_name: str
    is_staff: bool = False

    @property
    def role(self) -> str:
        """The kind of user, as the sign-in page names it."""
        return "staff" if self.is_staff else "customer"


SIGN_INS: Final = (
    SignIn("ada", "ada-paper-kite", "Ada Lovelace"),
    SignIn("grace", "grace-blue-ink", "Grace Hopper"),
    SignIn("admin", "admin-red-wax", "Mary Somerville", is_staff=True),
)
