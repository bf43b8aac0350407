"""A mail server that keeps what it gets."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import django
from aiosmtpd.controller import Controller
from django.core.mail.backends.smtp import EmailBackend

from tests.pace import LONGEST_WAIT

__all__ = ["MailServer", "PickyBackend", "mail_settings", "run_mail_server", "silent_server"]

BACKEND = "django.core.mail.backends.smtp.EmailBackend"


class PickyBackend(EmailBackend):
    """A backend that refuses addresses with an exception of its own.

    Attributes:
        error: The exception.
        unknown: The addresses that it refuses.
    """

    error: Exception
    unknown: frozenset[str] = frozenset()

    def send_messages(self, email_messages: Any) -> int:
        """Send mails, or refuse the address of one."""
        for message in email_messages:
            if not self.unknown.isdisjoint(message.to):
                raise self.error
        return super().send_messages(email_messages)


class MailServer:
    """A server of the SMTP protocol.

    Attributes:
        mails: What it got.
        refusal: The answer to the next mails instead of their acceptance; empty for none.
        unknown: The addresses that it refuses.
    """

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.refusal = ""
        self.unknown: set[str] = set()
        self.port = 0

    async def handle_RCPT(  # noqa: N802
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        """Take a recipient, or refuse an unknown one."""
        if address in self.unknown:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        """Keep a mail, or refuse it."""
        if self.refusal:
            return self.refusal
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 OK"


@contextmanager
def run_mail_server() -> Iterator[MailServer]:
    """Run a mail server on a free port."""
    mail_server = MailServer()
    # The system chooses the port.
    controller = _Controller(mail_server, hostname="127.0.0.1", port=0, ready_timeout=LONGEST_WAIT)
    controller.start()
    try:
        mail_server.port = controller.server.sockets[0].getsockname()[1]
        yield mail_server
    finally:
        controller.stop()


class _Controller(Controller):
    def _trigger_server(self) -> None:
        """Connect once, as the base class does, but to the port that the system has chosen."""
        port = self.server.sockets[0].getsockname()[1]
        with socket.create_connection((self.hostname, port), 5) as connection:
            connection.recv(1024)


@contextmanager
def silent_server() -> Iterator[int]:
    """Listen on a port, and never answer; give the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def mail_settings(port: int, *, timeout: float = 10, backend: str = BACKEND) -> dict[str, Any]:
    """Return the settings of Django for the mail server at a port."""
    if django.VERSION >= (6, 1):
        options = {"host": "127.0.0.1", "port": port, "timeout": timeout}
        return {"MAILERS": {"default": {"BACKEND": backend, "OPTIONS": options}}}
    return {
        "EMAIL_BACKEND": backend,
        "EMAIL_HOST": "127.0.0.1",
        "EMAIL_PORT": port,
        "EMAIL_TIMEOUT": timeout,
    }
