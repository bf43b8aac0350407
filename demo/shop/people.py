"""Who can sign in. Everything here is shown on the sign-in page."""

from typing import Final, NamedTuple

__all__ = ["SIGN_INS", "SignIn"]


class SignIn(NamedTuple):
    """A user of the demo, with a password that is no secret."""

    username: str
    password: str
    full_name: str
    is_staff: bool = False

    @property
    def role(self) -> str:
        """What the sign-in page calls this person."""
        return "staff" if self.is_staff else "customer"


SIGN_INS: Final = (
    SignIn("ada", "ada-paper-kite", "Ada Lovelace"),
    SignIn("grace", "grace-blue-ink", "Grace Hopper"),
    SignIn("admin", "admin-red-wax", "Mary Somerville", is_staff=True),
)
