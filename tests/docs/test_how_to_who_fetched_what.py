"""docs/how-to/who-fetched-what.md."""

import json
import logging
import re
import shlex
import sys
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.http import Http404
from django.test import Client, RequestFactory
from django.utils import timezone

from async_downloads.models import FetchRecord
from tests.docs.helpers import executed, problems, rows_of
from tests.factories import DownloadFactory
from tests.snippets import PAGES, Page

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]

PAGE = "docs/how-to/who-fetched-what.md"

COVERED = {
    "ASYNC_DOWNLOADS_AUDIT = True": "test_the_settings_satisfy_the_checks",
    "def shared_report": "test_a_view_of_the_site_records_the_file",
    "def behind_our_proxy": "test_the_last_address_is_that_of_the_proxy",
    "manage.py shell": "test_the_script_prints_what_a_person_got",
    "FIELDS +=": "test_the_log_has_the_columns",
    "--ledger-before": "test_the_command_deletes_what_is_too_old",
}


@pytest.fixture(autouse=True)
def audited(settings: Any, page: Page) -> None:
    documented = executed(page.snippet("ASYNC_DOWNLOADS_AUDIT = True"))
    for name in ("ASYNC_DOWNLOADS_AUDIT", "ASYNC_DOWNLOADS_AUDIT_ADDRESS"):
        setattr(settings, name, documented[name])


def fetched(client: Client, user: Any) -> FetchRecord:
    download = DownloadFactory(collection__user=user, complete=True, name="Orders")
    assert b"".join(client.get(download.url))  # type: ignore[attr-defined]
    return FetchRecord.objects.latest("pk")


def test_the_settings_satisfy_the_checks(as_documented: Any, settings: Any) -> None:
    documented = as_documented()
    names = {name for name in documented if name.startswith("ASYNC_DOWNLOADS_")}
    assert {"ASYNC_DOWNLOADS_AUDIT", "ASYNC_DOWNLOADS_AUDIT_ADDRESS"} <= names
    assert problems(settings, documented, names, ignored={"W005", "W007"}) == []


def test_the_record_has_what_the_page_says(signed_in: Client, user: Any) -> None:
    record = fetched(signed_in, user)
    assert (record.user_key, record.user_name) == (str(user.pk), "ada")
    assert record.address == "127.0.0.0/24"


def test_a_view_of_the_site_records_the_file(
    rf: RequestFactory, user: Any, quick_start: Any, page: Page
) -> None:
    views = quick_start("orders.views", page.placed("def shared_report"))
    request: Any = rf.get("/shared-report/")
    request.user = user
    with pytest.raises(Http404):
        views.shared_report(request)
    assert not FetchRecord.objects.exists()
    DownloadFactory(collection__user=None, collection__label="all staff", complete=True)
    response = views.shared_report(request)
    assert b"".join(response)
    response.close()
    record = FetchRecord.objects.get()
    assert (record.user_name, record.owner) == ("ada", "all staff")


def test_the_last_address_is_that_of_the_proxy(
    signed_in: Client, user: Any, settings: Any, quick_start: Any, page: Page
) -> None:
    module = quick_start("orders.addresses", page.placed("def behind_our_proxy"))
    sys.modules["orders"].addresses = module
    settings.ASYNC_DOWNLOADS_AUDIT_ADDRESS = "orders.addresses.behind_our_proxy"
    download = DownloadFactory(collection__user=user, complete=True)
    for header, kept in [("203.0.113.9, 192.0.2.7", "192.0.2.7"), ("192.0.2.8", "192.0.2.8")]:
        signed_in.get(download.url, headers={"X-Forwarded-For": header}).close()
        assert FetchRecord.objects.latest("pk").address == kept


def test_the_script_prints_what_a_person_got(
    signed_in: Client, user: Any, page: Page, capsys: pytest.CaptureFixture[str]
) -> None:
    record = fetched(signed_in, user)
    (script,) = re.findall(r"shell -c '\n(.*)'\n", page.snippet("manage.py shell"), re.DOTALL)
    executed(script.replace("2026", str(record.fetched_at.year)))
    name = record.file_name
    assert capsys.readouterr().out == f"{record.fetched_at} Orders {name} 127.0.0.0/24\n"


def test_the_log_has_the_columns(
    signed_in: Client, user: Any, page: Page, caplog: pytest.LogCaptureFixture
) -> None:
    formatter = PAGES["docs/how-to/monitoring.md"].snippet("class JsonFormatter")
    names = executed(page.snippet("FIELDS +="), **executed(formatter))
    with caplog.at_level(logging.INFO, logger="async_downloads.audit"):
        record = fetched(signed_in, user)
    (line,) = [each for each in caplog.records if each.name == "async_downloads.audit"]
    # The names of the formatter are those of its module.
    names["JsonFormatter"].format.__globals__["FIELDS"] = names["FIELDS"]
    logged = json.loads(names["JsonFormatter"]().format(line))
    assert logged["user_name"] == "ada"
    assert logged["fetched_at"] == str(record.fetched_at)
    assert logged["download_key"] == str(record.download_key)
    columns = {field.name for field in FetchRecord._meta.fields} - {"id"}
    assert columns <= logged.keys()


def test_the_command_deletes_what_is_too_old(
    signed_in: Client, user: Any, page: Page, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = fetched(signed_in, user)
    FetchRecord(
        fetched_at=timezone.now() - timedelta(days=400), download_key=kept.download_key, size=1
    ).save()
    command = page.snippet("--ledger-before").partition("manage.py ")[2]
    a_year_ago = f"{timezone.now() - timedelta(days=365):%Y-%m-%d}"
    arguments = shlex.split(re.sub(r"\$\(.*\)", a_year_ago, command))
    for dry_run, left in ((True, 2), (False, 1)):
        call_command(*arguments, dry_run=dry_run)
        assert FetchRecord.objects.count() == left
        assert "1 fetch record" in capsys.readouterr().out
    assert FetchRecord.objects.get() == kept


def test_the_page_names_functions_that_exist(page: Page) -> None:
    from async_downloads import audit

    paths = [row[0].strip("`") for row in rows_of(page.text, "| function | keeps |")]
    assert {path.rpartition(".")[2] for path in paths} == {
        name for name in audit.__all__ if name.startswith("remote_")
    }
