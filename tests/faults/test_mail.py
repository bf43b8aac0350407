"""Mails of real workers, which the test kills, through a real mail server."""

from collections.abc import Iterator

import pytest

from tests.faults.harness import NewSite, Site, eventually, kill
from tests.mail_server import MailServer, mail_settings, run_mail_server, silent_server

RESCUE = "async_downloads.tasks.rescue_stalled_downloads"

SENDING = """
    from tests.faults.site import steering
    from async_downloads import mail
    steering.append("ready.log", "ready")
    steering.wait_for("race")
    print(mail.send_due(), flush=True)
"""


@pytest.fixture
def server() -> Iterator[MailServer]:
    with run_mail_server() as running:
        yield running


def late_site(new_site: NewSite, database: str, port: int) -> Site:
    """Make a site whose user ada has an address, and gets mails from the server at a port."""
    site = new_site(
        database,
        ASYNC_DOWNLOADS_NOTIFY_AFTER=300,
        ASYNC_DOWNLOADS_SITE_URL="https://shop.example.org",
        **mail_settings(port, timeout=60),
    )
    site.run("""
        from django.contrib.auth import get_user_model
        get_user_model().objects.create(username="ada", email="ada@example.org")
    """)
    return site


def age(site: Site) -> None:
    """Let ten minutes pass for all downloads."""
    site.run("""
        from datetime import timedelta
        from django.db.models import F
        from async_downloads.models import Download
        columns = ("timestamp", "finished_at", "mail_due_at")
        past = {name: F(name) - timedelta(minutes=10) for name in columns}
        Download.objects.update(**past)
        ended = Download.objects.finished()
        ended.update(heard_at=F("heard_at") - timedelta(minutes=10))
    """)


def fail_late(site: Site) -> None:
    """Let failures have been requested twenty minutes ago, and have lasted for ten."""
    site.run("""
        from datetime import timedelta
        from django.db.models import F
        from async_downloads.models import Download
        past = timedelta(minutes=10)
        Download.objects.update(
            mail_due_at=F("mail_due_at") - 2 * past,
            finished_at=F("finished_at") - past,
            heard_at=F("heard_at") - past,
        )
    """)


def subjects(server: MailServer) -> list[str]:
    return [str(message["Subject"]) for message in server.mails]


def test_a_cluster_mails_a_file_and_its_schedule_mails_a_failure(
    new_site: NewSite, server: MailServer
) -> None:
    site = late_site(new_site, "sqlite", server.port)
    with site.cluster(workers=2):
        key = site.begin("silent")
        site.until_started(key)
        age(site)
        site.go()
        eventually(lambda: server.mails, why="a mail")
        failing = site.begin("fail_for_people")
        site.until(failing, state="failed")
        fail_late(site)
        # The cluster looks for what is due every 30 seconds.
        site.query("UPDATE django_q_schedule SET next_run = '2026-01-01'")
        eventually(lambda: len(server.mails) == 2, why="a second mail")
    assert subjects(server) == ["orders.csv is ready", "orders.csv has failed"]


def test_of_two_processes_one_sends_each_mail(new_site: NewSite, server: MailServer) -> None:
    site = late_site(new_site, "postgres", server.port)
    site.run("""
        from async_downloads import cache
        for number in range(20):
            _, key = cache.init_download("ada", "orders.csv", f"Orders {number}")
            cache.set_error(key, "Choose a shorter period.")
    """)
    fail_late(site)
    # Without a cache that they share, neither knows of the other.
    apart = {"CACHES": {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}}
    senders = [site.start(SENDING, **apart) for _ in range(2)]
    site.until_messages("ready.log", 2)
    site.go("race")
    assert [sender.wait() for sender in senders] == [0, 0]
    assert sorted(subjects(server)) == sorted(f"Orders {number} has failed" for number in range(20))


def test_a_worker_that_is_killed_while_it_sends_leaves_the_mail_to_the_schedule(
    new_site: NewSite, server: MailServer
) -> None:
    with silent_server() as port:
        site = late_site(new_site, "postgres", port)
        with site.cluster() as cluster:
            key = site.begin("silent")
            start = site.until_started(key)
            age(site)
            site.go()
            site.until(key, state="complete", mail_attempts=1)
            kill(start.pid)
            assert cluster.alive
    assert site.row(key)["state"] == "complete"
    age(site)
    for _ in range(2):
        site.run(
            f"""
            from django.utils.module_loading import import_string
            import_string({RESCUE!r})()
        """,
            **mail_settings(server.port),
        )
    assert subjects(server) == ["orders.csv is ready"]
