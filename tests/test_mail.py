"""Mails to the owners of downloads that took long, through a real mail server."""

import ast
import re
import threading
from collections.abc import Iterator
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connections, transaction
from django.db.models import F
from django.test import Client
from django.urls import set_script_prefix
from django.utils import formats, timezone, translation

from async_downloads import cache, mail, store, tasks
from async_downloads.executors import starting
from async_downloads.models import Download
from async_downloads.shortcuts import start_download
from async_downloads.store import mails
from tests import jobs, queues
from tests.mail_server import (
    MailServer,
    PickyBackend,
    mail_settings,
    run_mail_server,
    silent_server,
)
from tests.shop.models import Order

pytestmark = pytest.mark.django_db(transaction=True)

ADDRESS = "https://shop.example.org"

MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def running_server() -> Iterator[MailServer]:
    with run_mail_server() as server:
        yield server


@pytest.fixture
def server(running_server: MailServer, settings: Any) -> MailServer:
    """A mail server without mails, and the settings of a site that uses it."""
    running_server.mails.clear()
    running_server.refusal = ""
    running_server.unknown.clear()
    use(settings, running_server.port)
    settings.ASYNC_DOWNLOADS_NOTIFY_AFTER = 300
    settings.ASYNC_DOWNLOADS_SITE_URL = ADDRESS
    return running_server


def use(settings: Any, port: int, **options: Any) -> None:
    """Send mails to the server at a port."""
    for name, value in mail_settings(port, **options).items():
        setattr(settings, name, value)


def age(key: str, minutes: float) -> None:
    """Let so many minutes pass for a download."""
    past = timedelta(minutes=minutes)
    columns = ("timestamp", "finished_at", "heard_at", "mail_due_at")
    Download.objects.filter(pk=key).update(**{name: F(name) - past for name in columns})


def requested(owner: Any, *, minutes: float = 10, name: str = "Open orders") -> str:
    """Request a download so many minutes ago, and return its key."""
    _, key = cache.init_download(owner, "orders.csv", name)
    age(key, minutes)
    return key


def completed(owner: Any, **options: Any) -> Download:
    """Complete a download that was requested some minutes ago."""
    key = requested(owner, **options)
    cache.save_download(key, [["a"]])
    return row(key)


def failed(owner: Any, *, since: float = 6) -> str:
    """Let a download fail that was requested some minutes before."""
    key = requested(owner)
    cache.set_error(key, "Choose a shorter period.")
    age(key, since)
    return key


def row(key: str) -> Download:
    return Download.objects.select_related("collection__user").get(pk=key)


def text_of(message: EmailMessage, kind: str = "plain") -> str:
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content())


def path_in(text: str, site: str = ADDRESS) -> str:
    (path,) = re.findall(rf"{re.escape(site)}(/[^\s\"]*)", text)
    return str(path)


# What a mail says


def test_the_link_leads_its_owner_through_the_sign_in_to_the_file(
    server: MailServer, user: Any, other_user: Any, settings: Any
) -> None:
    download = completed(user)
    (message,) = server.mails
    assert (message["To"], message["Subject"]) == (user.email, "Open orders is ready")
    assert message["From"] == settings.DEFAULT_FROM_EMAIL
    assert message["Auto-Submitted"] == "auto-generated"
    link = path_in(text_of(message))
    assert link == path_in(text_of(message, "html")) == f"/async_downloads/download/{download.pk}/"
    expires = formats.date_format(timezone.localtime(download.expires_at), "DATETIME_FORMAT")
    assert f"The file expires on {expires} (UTC)." in text_of(message)
    visitor = Client()
    answer = visitor.get(link)
    assert answer.headers["Location"] == f"{settings.LOGIN_URL}?next={link}"
    visitor.force_login(other_user)
    assert visitor.get(link).status_code == 404
    visitor.force_login(user)
    assert b"".join(visitor.get(link)) == b"a\n"
    # The file itself is not in the mail.
    assert [part.get_content_type() for part in message.walk()] == [
        *("multipart/alternative", "text/plain", "text/html")
    ]


@pytest.mark.any_database
def test_its_dates_are_in_the_time_zone_of_the_site(server: MailServer, user: Any) -> None:
    """An export of the admin has the time zone of its page, or the one that the person chose."""
    with timezone.override("Asia/Tokyo"):
        download = completed(user)
    (message,) = server.mails
    for moment in (download.expires_at, download.timestamp):
        assert f"{formats.date_format(moment, 'DATETIME_FORMAT')} (UTC)" in text_of(message)


@pytest.mark.any_database
def test_a_file_that_staff_hold_does_not_expire(server: MailServer, user: Any) -> None:
    key = requested(user)
    store.hold(Download.objects.filter(pk=key))
    cache.save_download(key, [["a"]])
    (message,) = server.mails
    assert "is ready" in message["Subject"]
    assert "expires" not in text_of(message) + text_of(message, "html")


@pytest.mark.any_database
def test_the_mail_is_in_the_language_in_which_the_file_was_requested(
    server: MailServer, user: Any
) -> None:
    with translation.override("de"):
        key = requested(user, name="Offene Bestellungen")
    assert row(key).language == "de"
    cache.save_download(key, [["a"]])
    (message,) = server.mails
    assert message["Subject"] == "Offene Bestellungen ist fertig"
    assert '<html lang="de" dir="ltr">' in text_of(message, "html")
    with translation.override("de"):
        expires = formats.date_format(row(key).expires_at, "DATETIME_FORMAT")
    assert expires in text_of(message)


@pytest.mark.any_database
@pytest.mark.parametrize("language", [None, "xx-unknown"])
def test_without_a_known_language_the_mail_is_in_that_of_the_site(
    server: MailServer, user: Any, settings: Any, language: str | None
) -> None:
    settings.LANGUAGE_CODE = "de"
    key = requested(user)
    Download.objects.filter(pk=key).update(language=language or "")
    cache.save_download(key, [["a"]])
    assert server.mails[0]["Subject"] == "Open orders ist fertig"


@pytest.mark.any_database
def test_a_language_code_of_any_length_is_recorded(user: Any) -> None:
    with translation.override("de-" + "x" * 60):
        _, key = cache.init_download(user, "orders.csv")
    assert len(row(key).language) == 35
    with translation.override(None):
        _, key = cache.init_download(user, "orders.csv")
    assert row(key).language == ""


@pytest.mark.any_database
def test_a_name_is_text_in_the_html_and_as_it_is_elsewhere(server: MailServer, user: Any) -> None:
    name = "Smith & <b>Sons</b>"
    completed(user, name=name)
    (message,) = server.mails
    assert message["Subject"] == f"{name} is ready"
    assert name in text_of(message)
    assert name not in text_of(message, "html")
    assert text_of(message, "html").count("Smith &amp; &lt;b&gt;Sons&lt;/b&gt;") == 2


def test_a_name_of_any_length_is_mailed(server: MailServer, user: Any) -> None:
    # A server refuses lines of more than 998 characters.
    name = "x" * 2000
    completed(user, name=name)
    (message,) = server.mails
    assert len(message["Subject"].strip()) == mail.MAX_SUBJECT
    assert name in text_of(message)


def test_the_id_is_plain_ascii_whatever_the_domain(
    server: MailServer, user: Any, settings: Any
) -> None:
    settings.ASYNC_DOWNLOADS_SITE_URL = "https://bücher.example.org"
    completed(user)
    (message,) = server.mails
    assert str(message["Message-ID"]).strip().endswith("@xn--bcher-kva.example.org>")
    assert "https://bücher.example.org/" in text_of(message)


@pytest.mark.any_database
def test_the_templates_of_a_site_replace_those_of_the_package(
    server: MailServer, user: Any, settings: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "async_downloads/mail"
    folder.mkdir(parents=True)
    (folder / "subject.txt").write_text("{{ user.username }}:\n{{ download.name }} on {{ site }}")
    (template,) = settings.TEMPLATES
    settings.TEMPLATES = [template | {"DIRS": [tmp_path]}]
    completed(user)
    assert server.mails[0]["Subject"] == "ada: Open orders on shop.example.org"


@pytest.mark.any_database
def test_without_an_expiry_the_mail_names_none(
    server: MailServer, user: Any, settings: Any
) -> None:
    settings.ASYNC_DOWNLOADS_TIMEOUT = None
    completed(user)
    assert "expires" not in text_of(server.mails[0])


@pytest.mark.any_database
def test_a_truncated_file_is_called_so(server: MailServer, user: Any) -> None:
    key = requested(user)
    cache.save_download(key, [["a"]], expected_rows=2)
    assert "Truncated: 1 of 2 rows" in text_of(server.mails[0])


# The address of the site


@pytest.fixture
def prefix() -> Iterator[str]:
    set_script_prefix("/below/")
    yield "/below/"
    set_script_prefix("/")


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("site", "start"),
    [
        (ADDRESS, f"{ADDRESS}/below/async_downloads/"),
        (f"{ADDRESS}/", f"{ADDRESS}/below/async_downloads/"),
        (f"{ADDRESS}/shop", f"{ADDRESS}/shop/async_downloads/"),
        (f"{ADDRESS}/below/", f"{ADDRESS}/below/async_downloads/"),
    ],
)
def test_the_link_has_the_script_prefix_or_the_path_of_the_site(
    server: MailServer, user: Any, settings: Any, prefix: str, site: str, start: str
) -> None:
    settings.ASYNC_DOWNLOADS_SITE_URL = site
    completed(user)
    assert f"\n{start}download/" in text_of(server.mails[0])


@pytest.mark.any_database
@pytest.mark.usefixtures("sites_app")
def test_without_a_setting_the_link_has_the_domain_of_the_current_site(
    server: MailServer, user: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.contrib.sites import models

    settings.SITE_ID, settings.ASYNC_DOWNLOADS_SITE_URL = 1, ""
    # The tests have no table of sites.
    monkeypatch.setitem(models.SITE_CACHE, 1, models.Site(domain="sites.example.org"))
    completed(user)
    assert "https://sites.example.org/async_downloads/download/" in text_of(server.mails[0])


@pytest.mark.any_database
def test_without_an_address_no_mail_is_sent_and_the_log_says_why(
    server: MailServer, user: Any, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.ASYNC_DOWNLOADS_SITE_URL = ""
    assert completed(user).complete
    assert server.mails == []
    assert "ASYNC_DOWNLOADS_SITE_URL is not set" in caplog.text


# Who gets one, and when


def test_a_quick_download_costs_no_mail_and_no_query(
    server: MailServer, user: Any, django_assert_num_queries: Any
) -> None:
    download = completed(user, minutes=4.9)
    assert server.mails == []
    with django_assert_num_queries(0):
        assert not mail.send(download)
    age(download.download_key, 60)
    assert mail.send_due() == 0


def test_without_the_setting_nothing_is_recorded_read_or_sent(
    server: MailServer, user: Any, settings: Any, django_assert_num_queries: Any
) -> None:
    settings.ASYNC_DOWNLOADS_NOTIFY_AFTER = None
    _, key = cache.init_download(user, "orders.csv")
    assert row(key).mail_due_at is None
    Download.objects.filter(pk=key).update(mail_due_at=timezone.now() - MINUTE)
    cache.save_download(key, [["a"]])
    download = row(key)
    age(key, 6)
    with django_assert_num_queries(0):
        assert not mail.send(download)
        assert mail.send_due() == 0
    assert server.mails == []


@pytest.mark.any_database
def test_what_was_requested_before_the_setting_was_on_is_not_mailed(
    server: MailServer, user: Any, settings: Any
) -> None:
    settings.ASYNC_DOWNLOADS_NOTIFY_AFTER = None
    key = requested(user)
    settings.ASYNC_DOWNLOADS_NOTIFY_AFTER = 300
    cache.save_download(key, [["a"]])
    age(key, 6)
    assert (mail.send_due(), server.mails) == (0, [])


@pytest.mark.any_database
def test_only_a_call_imports_djangos_mail() -> None:
    tree = ast.parse(Path(mail.__file__).read_text())
    assert "django.core.mail" not in {
        node.module for node in tree.body if isinstance(node, ast.ImportFrom)
    }


def test_a_label_an_inactive_user_and_one_without_an_address_get_no_mail(
    server: MailServer, user: Any, other_user: Any
) -> None:
    get_user_model().objects.filter(pk=user.pk).update(is_active=False)
    get_user_model().objects.filter(pk=other_user.pk).update(email="")
    for owner in (user.pk, other_user.pk, "all staff"):
        download = completed(owner)
        assert download.complete
        age(download.download_key, 6)
        assert row(download.download_key).mail_due_at is None
    assert (mail.send_due(), server.mails) == (0, [])


def test_a_fetched_file_is_not_mailed(server: MailServer, signed_in: Client, user: Any) -> None:
    server.refusal = "451 try again later"
    download = completed(user)
    age(download.download_key, 6)
    server.refusal = ""
    assert b"".join(signed_in.get(download.url)) == b"a\n"
    assert (mail.send_due(), server.mails) == (0, [])


@pytest.mark.parametrize("end", ["cleared", "expired", "marked as cleared"])
def test_a_cleared_or_expired_download_is_not_mailed(
    server: MailServer, user: Any, end: str
) -> None:
    server.refusal = "451 try again later"
    download = completed(user)
    age(download.download_key, 6)
    server.refusal = ""
    rows = Download.objects.filter(pk=download.pk)
    if end == "cleared":
        store.clear(user.pk, download_key=download.pk)
    elif end == "expired":
        rows.update(expires_at=timezone.now())
    else:
        rows.retire(timezone.now() + MINUTE)
    assert (mail.send_due(), server.mails) == (0, [])


# Failures


def test_a_failure_is_mailed_once_it_has_lasted(server: MailServer, user: Any) -> None:
    key = failed(user, since=4.9)
    assert (mail.send_due(), server.mails) == (0, [])
    age(key, 0.2)
    assert mail.send_due() == 1
    (message,) = server.mails
    assert message["Subject"] == "Open orders has failed"
    assert "Choose a shorter period." in text_of(message)
    assert path_in(text_of(message)) == "/async_downloads/list/"
    age(key, 60)
    assert (mail.send_due(), len(server.mails)) == (0, 1)


def test_a_failure_that_a_repeated_task_makes_good_is_not_mailed(
    server: MailServer, user: Any
) -> None:
    key = requested(user)
    with pytest.raises(LookupError):
        tasks.run_task("tests.jobs.fail", key)
    tasks.run_task("tests.jobs.export", key)
    age(key, 6)
    assert mail.send_due() == 0
    assert [message["Subject"] for message in server.mails] == ["Open orders is ready"]


def test_a_file_after_a_mailed_failure_is_mailed_too(server: MailServer, user: Any) -> None:
    key = failed(user)
    assert mail.send_due() == 1
    tasks.run_task("tests.jobs.export", key)
    age(key, 60)
    assert mail.send_due() == 0
    subjects = [message["Subject"] for message in server.mails]
    assert subjects == ["Open orders has failed", "Open orders is ready"]


def test_a_second_failure_after_a_mailed_one_is_not_mailed(server: MailServer, user: Any) -> None:
    key = failed(user)
    assert mail.send_due() == 1
    with pytest.raises(LookupError):
        tasks.run_task("tests.jobs.fail", key)
    age(key, 6)
    assert (mail.send_due(), len(server.mails)) == (0, 1)


def test_what_a_person_tries_again_is_mailed_by_the_time_of_the_new_request(
    server: MailServer, user: Any
) -> None:
    key = failed(user)
    Download.objects.filter(pk=key).update(task="tests.jobs.export", arguments="[[], {}]")
    assert mail.send_due() == 1
    starting.build_again(row(key))
    assert row(key).mail_due_at > timezone.now()
    age(key, 10)
    queues.run_waiting()
    subjects = [message["Subject"] for message in server.mails]
    assert subjects == ["Open orders has failed", "Open orders is ready"]


# A mail server that is away


def test_a_server_that_is_down_harms_no_export_and_gets_one_more_attempt(
    server: MailServer, user: Any, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    use(settings, 1)
    download = completed(user)
    assert download.complete
    assert download.errors == ""
    key = download.download_key
    assert f"The mail about download {key} was not sent, and is attempted again" in caplog.text
    assert {record.download_key for record in caplog.records if record.exc_info} == {key}
    assert mail.send_due() == 0
    age(key, 6)
    caplog.clear()
    assert mail.send_due() == 0
    assert f"The mail about download {key} was not sent, and is not attempted" in caplog.text
    use(settings, server.port)
    age(key, 60)
    assert (mail.send_due(), server.mails) == (0, [])


@pytest.mark.parametrize(
    "job",
    [tasks.rescue_stalled_downloads, tasks.cleanup_expired_downloads],
    ids=lambda job: job.__name__,
)
def test_the_periodic_jobs_send_what_the_first_attempt_did_not(
    server: MailServer, user: Any, job: Any
) -> None:
    server.refusal = "451 try again later"
    download = completed(user)
    server.refusal = ""
    job()
    assert server.mails == []
    age(download.download_key, 6)
    for _ in range(2):
        job()
        assert len(server.mails) == 1
    assert server.mails[0]["Subject"] == "Open orders is ready"


def test_a_server_that_never_answers_costs_few_time_outs(
    server: MailServer, user: Any, settings: Any
) -> None:
    with silent_server() as port:
        use(settings, port, timeout=0.2)
        keys = [completed(user).download_key for _ in range(mail.MAX_ERRORS + 1)]
        assert all(row(key).complete for key in keys)
        for key in keys:
            age(key, 6)
        assert mail.send_due() == 0
    # The run ended before the last; the next one goes on.
    assert sorted(row(key).mail_attempts for key in keys) == [1, *[2] * mail.MAX_ERRORS]
    use(settings, server.port)
    assert (mail.send_due(), len(server.mails)) == (1, 1)


@pytest.mark.parametrize("address", ["gone@example.org", "ada@example.org\nBcc: eve@example.org"])
def test_an_address_that_is_refused_keeps_no_other_person_from_a_mail(
    server: MailServer, user: Any, other_user: Any, address: str
) -> None:
    server.unknown.add(address)
    get_user_model().objects.filter(pk=user.pk).update(email=address)
    keys = [failed(get_user_model().objects.get(pk=each.pk)) for each in (user, other_user)]
    age(keys[0], 1)
    assert mail.send_due() == 1
    assert [each["To"] for each in server.mails] == [other_user.email]
    assert row(keys[0]).mail_attempts == 1


@pytest.mark.parametrize("error", [ConnectionError(), ValueError(), LookupError()], ids=repr)
def test_an_error_of_any_backend_keeps_no_other_person_from_a_mail(
    server: MailServer,
    user: Any,
    other_user: Any,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    use(settings, server.port, backend="tests.mail_server.PickyBackend")
    monkeypatch.setattr(PickyBackend, "error", error, raising=False)
    monkeypatch.setattr(PickyBackend, "unknown", {user.email})
    others = [failed(other_user) for _ in range(2)]
    wrong = [failed(user) for _ in range(2 * (mail.MAX_ERRORS - 1))]
    # What has ended first is sent first.
    first = [*wrong[::2], others[0], *wrong[1::2], others[1]]
    for minutes, key in enumerate(reversed(first)):
        age(key, minutes)
    assert mail.send_due() == 2
    assert [each["To"] for each in server.mails] == [other_user.email] * 2
    assert {row(key).mail_attempts for key in wrong} == {1}


def test_a_worker_that_is_killed_before_it_sends_costs_no_mail(
    server: MailServer, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*args: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(mail, "_message", die)
        with pytest.raises(Killed):
            completed(user)
    download = Download.objects.get()
    assert (download.complete, download.mail_attempts) == (True, 1)
    age(download.download_key, 6)
    assert (mail.send_due(), len(server.mails)) == (1, 1)
    age(download.download_key, 60)
    assert (mail.send_due(), len(server.mails)) == (0, 1)


def test_a_worker_that_is_killed_before_it_claims_costs_no_mail(
    server: MailServer, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(mail, "send", lambda download: False)
        download = completed(user)
    assert mail.send_due() == 0
    age(download.download_key, 6)
    assert (mail.send_due(), len(server.mails)) == (1, 1)


def test_a_mail_that_is_sent_twice_has_the_same_id(server: MailServer, user: Any) -> None:
    download = completed(user)
    again = {"mail_attempts": 1, "mail_due_at": timezone.now() - MINUTE}
    age(download.download_key, 6)
    ended = row(download.download_key).finished_at
    Download.objects.filter(pk=download.pk).update(**again, finished_at=download.finished_at)
    assert ended is not None
    assert mail.send_due() == 1
    assert len({message["Message-ID"] for message in server.mails}) == 1


# Once


@pytest.mark.parametrize("first", [mail.send, lambda download: mail.send_due()])
def test_of_several_at_once_one_sends_the_mail(
    server: MailServer, user: Any, monkeypatch: pytest.MonkeyPatch, first: Any
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(mail, "send", lambda download: False)
        download = completed(user)
    age(download.download_key, 6)
    download = row(download.download_key)
    start = threading.Barrier(4)
    sent: list[object] = []

    def race(send: Any) -> None:
        try:
            start.wait()
            sent.append(send(download))
        finally:
            connections.close_all()

    racers = [threading.Thread(target=race, args=(send,)) for send in (first, mail.send) * 2]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert sum(map(bool, sent)) == 1
    assert len(server.mails) == 1


def test_the_row_has_the_last_word(server: MailServer, user: Any) -> None:
    # Read while it had failed, and complete by now.
    key = failed(user)
    (stale,) = store.read_due_mails()
    tasks.run_task("tests.jobs.export", key)
    assert not mail.send(stale)
    assert [message["Subject"] for message in server.mails] == ["Open orders is ready"]


def test_old_ends_are_not_mailed(server: MailServer, user: Any) -> None:
    key = failed(user, since=mails.LATEST_SECONDS / 60 + 1)
    assert (mail.send_due(), server.mails) == (0, [])
    assert row(key).mail_due_at is not None


def test_inside_a_transaction_it_is_sent_after_the_commit(server: MailServer, user: Any) -> None:
    key = requested(user)
    with transaction.atomic():
        cache.save_download(key, [["a"]])
        assert server.mails == []
    assert len(server.mails) == 1


def test_the_exception_of_a_time_limit_is_raised(
    server: MailServer, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = TimeoutError()
    monkeypatch.setattr("async_downloads.utils.time_limits.time_limit_in", lambda _: error)
    monkeypatch.setattr("async_downloads.store.write_through.time_limit_in", lambda _: error)
    server.refusal = "451 try again later"
    key = failed(user)
    with pytest.raises(TimeoutError):
        mail.send_due()
    assert row(key).mail_attempts == 1


# Executors


def export_late(download_key: str) -> None:
    """Save a file ten minutes after the request."""
    age(download_key, 10)
    cache.save_download(download_key, Order.objects.values_list("pk"))


@pytest.fixture
def late_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put tasks at a path where a worker can import them."""
    monkeypatch.setattr(jobs, "export_late", export_late, raising=False)


def test_a_worker_of_django_q2_sends_it(server: MailServer, user: Any, late_jobs: None) -> None:
    start_download("tests.jobs.export_late", user, "orders.csv", "Open orders")
    assert server.mails == []
    queues.run_waiting()
    assert [message["Subject"] for message in server.mails] == ["Open orders is ready"]


def test_a_thread_sends_it(server: MailServer, user: Any) -> None:
    from async_downloads.executors.threads import thread_task

    task = thread_task(export_late)
    _, key = cache.init_download(user, "orders.csv", "Open orders")
    task.enqueue(key).result()
    assert [message["Subject"] for message in server.mails] == ["Open orders is ready"]
