"""A mail with a link to a finished download."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import django
import pytest
from django.core.management import call_command
from django.db.models import F
from django.test import Client
from django.utils import timezone

from async_downloads import cache, mail
from async_downloads.models import Download
from tests.docs.helpers import executed, problems
from tests.snippets import PAGES

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]

PAGE = "docs/how-to/mail-with-a-link.md"

MAIL = PAGES[PAGE]

NAMES = ("ASYNC_DOWNLOADS_NOTIFY_AFTER", "ASYNC_DOWNLOADS_SITE_URL", "DEFAULT_FROM_EMAIL")

COVERED = {
    "ASYNC_DOWNLOADS_NOTIFY_AFTER": "test_the_link_leads_the_owner_to_the_file",
    "EMAIL_HOST": "test_the_settings_pass_the_checks",
    "MAILERS": "test_the_settings_pass_the_checks",
    "manage.py check": "test_the_settings_pass_the_checks",
    "{{ site }}": "test_a_template_of_the_site_changes_the_subject",
}


@pytest.fixture(autouse=True)
def switched_on(as_documented: Any, settings: Any) -> None:
    """The settings of the page."""
    documented = as_documented("ASYNC_DOWNLOADS_NOTIFY_AFTER")
    for name in NAMES:
        setattr(settings, name, documented[name])


def finish(owner: Any, *, minutes: float = 10) -> Download:
    """Complete a download that its owner requested so many minutes ago."""
    _, key = cache.init_download(owner, "orders.csv", "Open orders")
    past = timedelta(minutes=minutes)
    Download.objects.filter(pk=key).update(mail_due_at=F("mail_due_at") - past)
    cache.save_download(key, [["a"]])
    return Download.objects.get(pk=key)


def test_the_settings_pass_the_checks(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_CACHE_NAME = "file"
    if django.VERSION < (6, 1):
        # The test runner has replaced it.
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        assert [message.id for message in problems(settings, {}, ())] == ["async_downloads.W017"]
    names = executed(MAIL.snippet("MAILERS" if django.VERSION >= (6, 1) else "EMAIL_HOST"))
    assert problems(settings, names, filter(str.isupper, names)) == []
    call_command("check", tags=["async_downloads"])


def test_the_link_leads_the_owner_to_the_file(
    user: Any, other_user: Any, mailoutbox: list[Any], settings: Any
) -> None:
    download = finish(user)
    (message,) = mailoutbox
    assert (message.to, message.subject) == ([user.email], "Open orders is ready")
    assert message.from_email == "shop@example.org"
    (link,) = re.findall(r"https://shop\.example\.org(/\S+)", message.body)
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
    finish("all staff")
    other_user.email = ""
    other_user.save()
    finish(other_user)
    assert mailoutbox == []


def test_a_template_of_the_site_changes_the_subject(
    user: Any, mailoutbox: list[Any], settings: Any, tmp_path: Path
) -> None:
    (template,) = settings.TEMPLATES
    settings.TEMPLATES = [template | {"DIRS": [tmp_path / "templates"]}]
    path = tmp_path / "templates/async_downloads/mail/subject.txt"
    path.parent.mkdir(parents=True)
    path.write_text(MAIL.snippet("{{ site }}"))
    finish(user)
    assert mailoutbox[0].subject == "[shop.example.org] Open orders: Complete"


def test_a_server_that_is_away_is_tried_once_more(
    user: Any, mailoutbox: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as away:
        away.setattr(mail, "_message", lambda *args: 1 / 0)
        download = finish(user)
    assert download.complete
    past = timedelta(minutes=6)
    columns = ("finished_at", "heard_at", "mail_due_at")
    rows = Download.objects.filter(pk=download.pk)
    rows.update(**{name: F(name) - past for name in columns})
    for _ in range(2):
        call_command("rescue_downloads", verbosity=0)
        assert len(mailoutbox) == 1
