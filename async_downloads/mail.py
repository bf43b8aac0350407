"""Mails to the owners of downloads that took long.

The worker sends the mail about a complete file. The periodic jobs send those about failures,
which a repeated task may still make good, and those that were not sent at the first attempt.
"""

from smtplib import SMTPRecipientsRefused
from typing import Any, Final
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings as project_settings
from django.core.exceptions import ImproperlyConfigured
from django.template.loader import render_to_string
from django.urls import get_script_prefix, reverse
from django.utils import timezone, translation
from django.utils.encoding import punycode
from django.utils.text import Truncator

from async_downloads import settings, store
from async_downloads.models import Download
from async_downloads.store.jobs import alone
from async_downloads.utils.log import get_logger
from async_downloads.utils.time_limits import raise_time_limit

__all__ = ["TEMPLATES", "email_of", "send", "send_due", "site_url"]

logger = get_logger(__name__)

#: The templates of the subject, the text and the HTML.
TEMPLATES: Final = (
    "async_downloads/mail/subject.txt",
    "async_downloads/mail/body.txt",
    "async_downloads/mail/body.html",
)

#: Errors without a sent mail in between that end a run. No exception of a backend says for sure
#: whether it is of one mail or of the server.
MAX_ERRORS: Final = 3

#: Characters of a subject. A server refuses lines of more than 998, and one word is not wrapped.
MAX_SUBJECT: Final = 200


def send(download: Download) -> bool:
    """Mail its owner that a download has ended, if that is due and no other process does it.

    An error is logged, except that of a time limit. The periodic jobs attempt it once more.

    Args:
        download: The row, with ``collection__user`` selected.

    Returns:
        Whether a mail was sent.
    """
    return settings.NOTIFY_AFTER is not None and bool(_send(download))


def send_due() -> int:
    """Send the mails that are due, unless another process does, and return how many were sent.

    A mail that fails keeps no other person from theirs. ``MAX_ERRORS`` in a row end the run, so
    that a server that does not answer costs few time-outs; the next run goes on. An address that
    the server refuses is not counted.
    """
    sent = errors = 0
    if settings.NOTIFY_AFTER is None:
        return sent
    with alone("mail") as heartbeat:
        if heartbeat is None:
            return sent
        for download in store.read_due_mails():
            outcome = _send(download)
            if outcome:
                sent, errors = sent + 1, 0
            errors += outcome is None
            if errors == MAX_ERRORS:
                break
            heartbeat()
    return sent


def site_url() -> str:
    """Return the address of the site, without a slash at the end.

    Raises:
        ImproperlyConfigured: Neither ``ASYNC_DOWNLOADS_SITE_URL`` nor ``SITE_ID`` is set.
        ObjectDoesNotExist: ``SITE_ID`` is not that of a site.
    """
    if settings.SITE_URL:
        return str(settings.SITE_URL).rstrip("/")
    if apps.is_installed("django.contrib.sites"):
        from django.contrib.sites.models import Site

        return f"https://{Site.objects.get_current().domain}"
    raise ImproperlyConfigured("ASYNC_DOWNLOADS_SITE_URL is not set, so mails have no links.")


def email_of(user: Any) -> str:
    """Return the address of an active user; empty if there is none."""
    if user is None or not getattr(user, "is_active", True):
        return ""
    # A site's own model need not be made of Django's.
    name = getattr(user, "get_email_field_name", lambda: "email")()
    return getattr(user, name, None) or ""


def _send(download: Download) -> bool | None:
    """Send the mail about a download; return None after an error that others may have, too."""
    if not store.claim_mail(download):
        return False
    address = email_of(download.collection.user)
    try:
        if address:
            _message(download, address).send()
    except Exception as error:
        again = "attempted again later" if download.mail_due_at else "not attempted again"
        logger.exception("The mail about download %s was not sent, and is %s", download.pk, again)
        raise_time_limit(error)
        return False if isinstance(error, SMTPRecipientsRefused) else None
    store.settle_mail(download)
    return bool(address)


def _message(download: Download, address: str) -> Any:
    """Return the mail about a download, in the language in which it was requested.

    Dates are in the time zone of the site: the task may have activated another one.
    """
    # Sites without mails need not import it.
    from django.core.mail import EmailMultiAlternatives

    site = site_url()
    host = urlsplit(site).hostname or ""
    language = download.language or project_settings.LANGUAGE_CODE
    with translation.override(language), timezone.override(None):
        context = {
            "download": download,
            "user": download.collection.user,
            "url": site + _path(download, site),
            "site": host,
        }
        subject, text, html = (render_to_string(name, context) for name in TEMPLATES)
        line = Truncator(" ".join(subject.split())).chars(MAX_SUBJECT)
    message = EmailMultiAlternatives(line, text, to=[address], headers=_headers(download, host))
    message.attach_alternative(html, "text/html")
    return message


def _path(download: Download, site: str) -> str:
    """Return the path of the file, or after a failure that of the page of all downloads."""
    if download.complete:
        path = reverse("async_downloads:download", args=[download.pk])
    else:
        path = reverse("async_downloads:download_list")
    # Below the path of the site, the script prefix would be there twice.
    return f"/{path.removeprefix(get_script_prefix())}" if urlsplit(site).path else path


def _headers(download: Download, host: str) -> dict[str, str]:
    """Return headers by which a mail that is sent twice is the same, and needs no answer."""
    finished_at = download.finished_at
    ended = f"{finished_at:%Y%m%d%H%M%S}" if finished_at else ""
    return {
        "Message-ID": f"<{download.download_key}.{ended}@{punycode(host)}>",
        "Auto-Submitted": "auto-generated",
    }
