"""Files without a row."""

import os
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as project_settings

from async_downloads import store
from tests.factories import DownloadFactory

pytestmark = pytest.mark.django_db(transaction=True)

DAY = timedelta(days=1)


def put(path: str, *, days: float = 2) -> Path:
    """Put a file into the storage that was last changed some days ago."""
    file = Path(project_settings.MEDIA_ROOT, path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"left over")
    age(file, days)
    age(file.parent, days)
    return file


def age(path: Path, days: float) -> None:
    moment = path.stat().st_mtime - days * 86_400
    os.utime(path, (moment, moment))


def removed(**options: Any) -> list[str]:
    return sorted(store.remove_orphans(**{"min_age": DAY, **options}))


def test_a_file_without_a_row_goes_with_its_folder() -> None:
    orphan = put(f"downloads/{uuid.uuid4()}/orders.csv")
    assert removed() == [str(orphan.relative_to(project_settings.MEDIA_ROOT))]
    assert not orphan.parent.exists()
    assert removed() == []


def test_an_empty_folder_without_a_row_goes() -> None:
    orphan = put(f"downloads/{uuid.uuid4()}/orders.csv")
    orphan.unlink()
    age(orphan.parent, 2)
    assert removed() == [str(orphan.parent.relative_to(project_settings.MEDIA_ROOT))]
    assert not orphan.parent.exists()


def test_a_dry_run_lists_and_removes_nothing() -> None:
    orphan = put(f"downloads/{uuid.uuid4()}/orders.csv")
    assert removed(dry_run=True) == removed(dry_run=True) != []
    assert orphan.exists()


@pytest.mark.parametrize(
    "state", [{"complete": True}, {"running": True}, {"failed": True}], ids=str
)
def test_a_file_with_a_row_stays(state: dict[str, bool]) -> None:
    for expired in (False, True):
        download = DownloadFactory(**state, expired=expired, stored=False)
        put(download.filepath)
    assert removed() == []


@pytest.mark.parametrize(
    "path",
    [
        "stranger.csv",
        "downloads/stranger.csv",
        "downloads/reports/stranger.csv",
        "other/{key}/stranger.csv",
        "{key}/stranger.csv",
        "downloads/{KEY}/stranger.csv",
        "downloads/{hex}/stranger.csv",
        "downloads/{key}/folder/stranger.csv",
    ],
)
def test_a_file_outside_the_folders_of_downloads_stays(path: str) -> None:
    key = uuid.uuid4()
    file = put(path.format(key=key, KEY=str(key).upper(), hex=key.hex))
    assert removed() == []
    assert file.exists()


def test_a_young_file_keeps_its_whole_folder() -> None:
    key = uuid.uuid4()
    old = put(f"downloads/{key}/old.csv")
    young = put(f"downloads/{key}/young.csv", days=0)
    assert removed() == []
    assert old.exists()
    assert young.exists()
    assert len(removed(min_age=timedelta())) == 2


def test_ages_are_compared_without_time_zones(settings: Any) -> None:
    settings.USE_TZ = False
    put(f"downloads/{uuid.uuid4()}/orders.csv")
    assert len(removed()) == 1


def test_only_the_configured_prefix_is_searched(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_PATH_PREFIX = "exports/async"
    left = put(f"downloads/{uuid.uuid4()}/orders.csv")
    put(f"exports/async/{uuid.uuid4()}/orders.csv")
    assert len(removed()) == 1
    assert left.exists()


def test_without_a_folder_there_is_nothing_to_do() -> None:
    assert removed() == []
