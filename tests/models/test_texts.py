"""Text with characters that a column, a connection or a database lacks."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import IntegrityError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from async_downloads import cache
from async_downloads.exceptions import DownloadError
from async_downloads.models import Download
from async_downloads.models.texts import as_escape, as_underscore, write_text
from tests.factories import DownloadFactory, UserFactory

#: Texts, and their forms if the column has only MySQL's older UTF-8, or only Latin-1.
TEXTS = {
    "plain": ("plain", "plain"),
    "caf\u00e9 \u540d \u20ac": ("caf\u00e9 \u540d \u20ac", "caf\u00e9 \\u540d \\u20ac"),
    "caf\u00e9 \U0001f600": ("caf\u00e9 \\U0001f600",) * 2,
    "a zero \x00, half a pair \ud83d": ("a zero \\x00, half a pair \\ud83d",) * 2,
}


@pytest.fixture
def narrow(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[int]:
    """Give the text columns fewer characters, and yield the index of the form they accept."""
    if connection.vendor == "mysql":
        charset, form = request.param, int(request.param == "latin1")
        with altered(charset, "async_downloads_download", "async_downloads_downloadcollection"):
            yield form
    else:
        pytest.skip("only MySQL and MariaDB have columns with a character set")


@contextlib.contextmanager
def altered(charset: str, *tables: str) -> Iterator[None]:
    def alter(charset: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET foreign_key_checks = 0")
            for table in tables:
                cursor.execute(f"ALTER TABLE {table} CONVERT TO CHARACTER SET {charset}")
            cursor.execute("SET foreign_key_checks = 1")

    alter(charset)
    try:
        yield
    finally:
        Download.objects.all().delete()
        alter("utf8mb4")


@pytest.mark.parametrize("narrow", ["utf8mb3", "latin1"], indirect=True)
class TestNarrowColumns:
    @pytest.mark.parametrize("text", TEXTS)
    def test_a_failure_is_recorded_whatever_its_text_holds(self, narrow: int, text: str) -> None:
        keys = [DownloadFactory().download_key for _ in range(3)]
        cache.set_error(keys[0], text)
        cache.save_download(keys[1], failing(DownloadError(text)))
        cache.save_download(keys[2], failing(ValueError(text)))
        rows = [Download.objects.get(pk=key) for key in keys]
        assert [row.state for row in rows] == ["failed"] * 3
        kept = TEXTS[text][narrow]
        assert [row.errors for row in rows[:2]] in ([kept] * 2, [text] * 2)
        assert kept in rows[2].error_detail or text in rows[2].error_detail

    def test_a_failure_is_recorded_inside_the_callers_transaction(self, narrow: int) -> None:
        key = DownloadFactory().download_key
        with transaction.atomic():
            UserFactory(username="made before")
            cache.set_error(key, "\U0001f600")
            assert Download.objects.count() == 1
        assert Download.objects.get().errors == "\\U0001f600"

    def test_names_keep_the_characters_that_the_column_has(self, narrow: int, user: Any) -> None:
        _, key = cache.init_download(user, "r\u00e9sum\u00e9 \U0001f600.csv", "\U0001f600")
        download = Download.objects.get(pk=key)
        assert (download.name, download.filename) == ("_", "r\u00e9sum\u00e9 _.csv")
        cache.save_download(key, [["row"]], format="jsonl")
        download.refresh_from_db()
        assert (download.state, download.filename) == ("complete", "r\u00e9sum\u00e9 _.jsonl")


@pytest.fixture
def narrow_connection(transactional_db: None) -> Iterator[None]:
    """Connect with an encoding that has few characters, as a site may configure."""
    options = {
        "postgresql": {"client_encoding": "LATIN1"},
        "mysql": {"charset": "latin1"},
    }.get(connection.vendor)
    if options is None:
        pytest.skip("an SQLite has only one encoding")
    settings = connections["default"].settings_dict
    before = settings["OPTIONS"]
    settings["OPTIONS"] = {**before, **options}
    connection.close()
    try:
        yield
    finally:
        settings["OPTIONS"] = before
        connection.close()


@pytest.mark.parametrize("text", TEXTS)
def test_a_failure_is_recorded_over_a_connection_with_few_characters(
    narrow_connection: None, text: str
) -> None:
    key = DownloadFactory().download_key
    cache.save_download(key, failing(DownloadError(text)))
    row = Download.objects.get()
    assert row.state == "failed"
    assert row.errors in {*TEXTS[text], text}


@pytest.mark.django_db(transaction=True)
class TestWriteText:
    def test_an_ascii_text_costs_one_statement(self) -> None:
        DownloadFactory()
        with CaptureQueriesContext(connection) as queries:
            Download.objects.all().fail("plain", detail="plain")
        assert len(queries) == 1

    def test_an_error_about_something_else_is_raised_at_once(self) -> None:
        calls: list[str] = []

        def write(text: str) -> None:
            calls.append(text)
            raise IntegrityError("another")

        with pytest.raises(IntegrityError):
            write_text(write, "\U0001f600", using="default")
        assert calls == ["\U0001f600"]

    def test_each_form_is_written_until_the_database_accepts_one(self) -> None:
        calls: list[tuple[str, ...]] = []

        def write(*texts: str) -> int:
            calls.append(texts)
            if not all(text.isascii() for text in texts):
                raise UnicodeEncodeError("ascii", "", 0, 1, "not in this encoding")
            return len(calls)

        assert write_text(write, "\u00e9", "\U0001f600", using="default") == 3
        assert calls == [
            ("\u00e9", "\U0001f600"),
            ("\u00e9", "\\U0001f600"),
            ("\\xe9", "\\U0001f600"),
        ]

    def test_a_name_gets_underscores(self) -> None:
        def write(text: str) -> str:
            text.encode("ascii")
            return text

        assert (
            write_text(write, "\u00e9.csv", using="default", replacement=as_underscore) == "_.csv"
        )
        assert write_text(write, "\u00e9", using="default", replacement=as_escape) == "\\xe9"

    def test_a_text_larger_than_any_packet_keeps_its_beginning_and_its_end(self) -> None:
        DownloadFactory()
        Download.objects.all().fail("begin" + "\U0001f600" * 5_000_000 + "end")
        errors = Download.objects.get().errors
        assert errors.startswith("begin")
        assert errors.endswith("end")
        assert len(errors) < 101_000


def failing(error: Exception) -> Iterator[list[str]]:
    yield ["row"]
    raise error
