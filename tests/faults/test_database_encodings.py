"""PostgreSQL databases in other encodings than UTF-8."""

import pytest

from tests.faults.conftest import needs
from tests.faults.databases import Database, Postgres
from tests.faults.harness import NewSite


def encoded(encoding: str) -> type[Database]:
    """Return a kind of database with this encoding."""
    name = encoding.lower()

    class Encoded(Postgres):
        kind = f"postgres-{name}"

        def create(self, template: Database | None) -> None:
            source = "template0" if template is None else template.name
            with self.administration() as cursor:
                cursor.execute(
                    f"CREATE DATABASE {self.name} TEMPLATE {source} "
                    f"ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"
                )

    return Encoded


FAIL = """
from async_downloads import cache
from async_downloads.exceptions import DownloadError
from async_downloads.models import Download

def rows():
    yield ["one"]
    raise DownloadError("caf\\u00e9 \\u540d \\U0001f600 \\0 \\ud83d")

_, key = cache.init_download("ada", "caf\\u00e9 \\u540d.csv")
cache.save_download(key, rows())
row = Download.objects.get()
print(ascii([row.state, row.filename, row.errors]))
"""

#: The file name and the error text in the row.
STORED = {
    "LATIN1": ("caf\xe9 _.csv", "caf\xe9 \\u540d \\U0001f600 \\x00 \\ud83d"),
    "SQL_ASCII": ("caf\xe9 \u540d.csv", "caf\xe9 \u540d \U0001f600 \\x00 \\ud83d"),
}


@pytest.mark.parametrize("encoding", STORED)
def test_a_failure_is_recorded_in_a_database_of_another_encoding(
    new_site: NewSite, encoding: str
) -> None:
    needs("postgres")
    site = new_site(encoded(encoding))
    assert site.run(FAIL) == ascii(["failed", *STORED[encoding]])
