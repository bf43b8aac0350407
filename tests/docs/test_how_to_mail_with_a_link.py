"""A mail with a link to a finished download."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from async_downloads import cache, signals
from async_downloads.models import Download
from tests.docs.helpers import executed
from tests.snippets import PAGES

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]

PAGE = "docs/how-to/mail-with-a-link.md"

MAIL = PAGES[PAGE]

COVERED = {
    "SITE_URL =": "test_the_link_leads_the_owner_to_the_file",
    "def mail_a_link": "test_the_link_leads_the_owner_to_the_file",
    "class OrdersConfig": "test_the_link_leads_the_owner_to_the_file",
}


@pytest.fixture(autouse=True)
def connected(quick_start: Any, settings: Any) -> Iterator[Any]:
    """The receiver, which its import connects, and the settings of the page."""
    documented = executed(MAIL.snippet("SITE_URL ="))
    for name in ("SITE_URL", "DEFAULT_FROM_EMAIL"):
        setattr(settings, name, documented[name])
    mail = quick_start("orders.mail", MAIL.placed("def mail_a_link"))
    apps = quick_start("orders.apps", MAIL.placed("class OrdersConfig"))
    apps.__file__ = __file__
    apps.OrdersConfig("orders", apps).ready()
    yield mail
    signals.download_completed.disconnect(mail.mail_a_link)


def finish(owner: Any, *, minutes: float, name: str = "Open orders") -> Download:
    """Complete a download that its owner requested so many minutes ago."""
    _, key = cache.init_download(owner, "orders.csv", name)
    requested = timezone.now() - timedelta(minutes=minutes)
    Download.objects.filter(pk=key).update(timestamp=requested)
    cache.save_download(key, [["a"]])
    return Download.objects.get(pk=key)


def link_of(mail: Any, site: str) -> str:
    """Return the path of the link in a mail."""
    (link,) = re.findall(rf"from {re.escape(site)}(/\S+)", mail.body)
    return str(link)


def test_the_link_leads_the_owner_to_the_file(
    user: Any, other_user: Any, mailoutbox: list[Any], settings: Any
) -> None:
    download = finish(user, minutes=10)
    (mail,) = mailoutbox
    assert (mail.to, mail.subject) == ([user.email], "Open orders is ready")
    assert mail.from_email == "shop@example.org"
    assert download.expires_at
    assert f"expires on {timezone.localtime(download.expires_at):%d %B at %H:%M}." in mail.body
    link = link_of(mail, settings.SITE_URL)
    visitor = Client()
    answer = visitor.get(link)
    assert (answer.status_code, answer.headers["Location"]) == (
        302,
        f"{settings.LOGIN_URL}?next={link}",
    )
    visitor.force_login(other_user)
    assert visitor.get(link).status_code == 404
    visitor.force_login(user)
    assert b"".join(visitor.get(link)) == b"a\n"
    Download.objects.filter(pk=download.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert visitor.get(link).status_code == 404


def test_a_quick_export_a_label_and_a_person_without_an_address_get_no_mail(
    user: Any, other_user: Any, mailoutbox: list[Any]
) -> None:
    finish(user, minutes=1)
    finish("all staff", minutes=10)
    other_user.email = ""
    other_user.save()
    finish(other_user, minutes=10)
    assert mailoutbox == []


def test_without_an_expiry_the_mail_names_none(
    user: Any, mailoutbox: list[Any], settings: Any
) -> None:
    settings.ASYNC_DOWNLOADS_TIMEOUT = None
    finish(user, minutes=10)
    assert "expires" not in mailoutbox[0].body


def test_a_receiver_that_raises_harms_no_export(
    user: Any, settings: Any, mailoutbox: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    del settings.SITE_URL
    assert finish(user, minutes=10).complete
    assert mailoutbox == []
    assert "mail_a_link" in caplog.text
