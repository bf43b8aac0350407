"""Complete downloads for tests of serving, and the answer that their owner gets."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.faults.client import Answer, Client
from tests.faults.harness import Site

__all__ = ["LARGE", "MEGABYTE", "fetch_whole", "large_file", "named_downloads"]

MEGABYTE: Final = 1 << 20
LARGE: Final = 400 * MEGABYTE

MAKE_EACH: Final = """
from django.contrib.auth import get_user_model
from async_downloads import cache
user, _ = get_user_model().objects.get_or_create(username="ada")
for name in {names!r}:
    _, key = cache.init_download(user, name)
    cache.save_download(key, [["id"], [name.encode("ascii", "replace")]])
    print(key)
"""


def named_downloads(site: Site, names: Sequence[str]) -> list[str]:
    """Make a complete download for each file name; return the download keys."""
    return site.run(MAKE_EACH.format(names=names)).split()


def large_file(site: Site) -> tuple[str, Path]:
    """Make a complete download of a large, sparse file; return its URL and its path."""
    (key,) = named_downloads(site, ["large.csv"])
    path = site.media / site.row(key)["filepath"]
    os.truncate(path, LARGE)
    return f"/async_downloads/download/{key}/", path


def fetch_whole(client: Client, url: str, path: Path) -> Answer:
    """Shorten a large file to 256 kB, fetch it, and check the bytes and the headers."""
    path.write_bytes(bytes(range(256)) * 1000)
    answer = client.get(url)
    assert (answer.status, answer.body) == (200, path.read_bytes())
    assert answer.headers["Content-Disposition"] == 'attachment; filename="large.csv"'
    assert answer.headers["Content-Type"] == "text/csv"
    assert answer.headers["Content-Length"] == "256000"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "private, no-store"
    return answer
