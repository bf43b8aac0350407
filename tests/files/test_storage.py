"""Files in the storage, and their names."""

import io
import os
import unicodedata
import uuid
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from tempfile import SpooledTemporaryFile
from typing import Any

import pytest
from django.conf import settings as project_settings
from django.core.files import File
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, InMemoryStorage, Storage
from django.core.files.uploadedfile import TemporaryUploadedFile

from async_downloads import cache
from async_downloads.files import storage
from async_downloads.files.names import MAX_NAME_BYTES, path_for, shortened, shown_name, stored_name
from tests import file_names

KEY = "0b6a1f2e-7c59-4f0a-9b1d-3f6f0a1c2d3e"
OTHER_KEY = "7d0f4f43-58a4-4b52-8ab2-6bb2f8b0a111"


def is_own_child(path: str) -> bool:
    """Return whether a path is a file directly in the download's folder."""
    folder, _, name = path.rpartition("/")
    return folder == f"downloads/{KEY}" and name not in ("", ".", "..")


def folder(key: str = KEY) -> Path:
    return Path(project_settings.MEDIA_ROOT) / "downloads" / key


def stored_files() -> set[str]:
    root = Path(project_settings.MEDIA_ROOT)
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def put(path: str, content: bytes = b"x") -> str:
    return storage.storage().save(path, ContentFile(content))


@pytest.mark.parametrize("name", file_names.NASTY, ids=ascii)
def test_a_nasty_name_is_stored_in_its_own_folder_and_fetched_back(name: str) -> None:
    check_name(name, b"content of one")


@pytest.mark.parametrize("name", file_names.NASTY, ids=ascii)
def test_a_stored_name_is_safe_on_any_file_system(name: str) -> None:
    stored = stored_name(name)
    assert 0 < len(stored.encode()) <= MAX_NAME_BYTES
    assert not set(stored) & set('/\\:*?"<>|\x00')
    assert not any(unicodedata.category(char) in {"Cc", "Cs"} for char in stored)
    assert PurePosixPath(stored).name == PureWindowsPath(stored).name == stored
    assert not stored.startswith((" ", ".")), "hidden, or the folder itself"
    assert not stored.endswith((" ", ".")), "Windows drops these"
    assert stored.split(".")[0].upper() not in {"CON", "NUL", "AUX", "COM1", "LPT9"}


def test_three_hundred_random_names_are_stored_and_fetched_back() -> None:
    for index, name in enumerate(file_names.fuzzed(300)):
        check_name(name, f"content of {index}".encode())
    assert len(stored_files()) == 300


def check_name(name: str, content: bytes) -> None:
    path = path_for(KEY, name)
    assert is_own_child(path)
    stored = storage.save(path, File(io.BytesIO(content)))
    assert is_own_child(stored.path)
    assert stored.size == len(content)
    with storage.storage().open(stored.path) as opened:
        assert opened.read() == content
    assert (folder() / PurePosixPath(stored.path).name).read_bytes() == content
    # Two names with the same stored name are two files.
    assert stored_files() >= {stored.path}


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        ("orders.csv", "orders.csv"),
        ("Open orders 2026-01-31.csv", "Open orders 2026-01-31.csv"),
        ("Größe & Menge №5.csv", "Größe & Menge №5.csv"),
        ("archive.tar.gz", "archive.tar.gz"),
        ("a/b.csv", "ab.csv"),
        ("", "download"),
        ("..", "download"),
        ("x" * 300 + ".csv", "x" * 196 + ".csv"),
        ("ü" * 300 + ".csv", "ü" * 98 + ".csv"),
        ("x" * 300 + ".csv.gz", "x" * 193 + ".csv.gz"),
        ("x" * 300 + ".v2.csv.gz", "x" * 193 + ".csv.gz"),
    ],
)
def test_a_stored_name_is_like_the_requested_one(asked: str, stored: str) -> None:
    assert stored_name(asked) == stored


@pytest.mark.parametrize(
    ("name", "size", "short"),
    [
        ("orders.csv", 255, "orders.csv"),
        ("orders.csv", 8, "orde.csv"),
        ("orders.csv.gz", 14, "orders.csv.gz"),
        ("more orders.csv.gz", 16, "more orde.csv.gz"),
        ("名名名.csv", 10, "名名.csv"),
        ("名名名.csv", 9, "名.csv"),
        (".bashrc", 4, ".bas"),
        ("x" * 10, 4, "xxxx"),
        ("x." + "y" * 10, 6, "x.yy"),
        ("x." + "名" * 10, 8, "x.名"),
        ("", 4, ""),
    ],
)
def test_a_long_name_is_shortened_before_its_extension(name: str, size: int, short: str) -> None:
    assert shortened(name, size) == short


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("Orders / returns: 50 % <b>.csv", "Orders / returns: 50 % <b>.csv"),
        ("名前 👩‍👩‍👧‍👦.csv", "名前 👩‍👩‍👧‍👦.csv"),
        ("חשבונית.csv", "חשבונית.csv"),
        (" a\x00b\nc.csv ", "abc.csv"),
        ("invoice\u202evsc.exe", "invoicevsc.exe"),
        ("\u2066a\u2069\u202c.csv", "a.csv"),
        ("a\ud800b", "ab"),
        ("x" * 5000, "x" * 5000),
        ("\n", ""),
    ],
    ids=ascii,
)
def test_a_shown_name_has_no_invisible_characters(asked: str, shown: str) -> None:
    assert shown_name(asked) == shown


def test_the_path_follows_the_prefix(settings: Any) -> None:
    assert path_for(KEY, "a.csv") == f"downloads/{KEY}/a.csv"
    settings.ASYNC_DOWNLOADS_PATH_PREFIX = "exports/made here"
    assert path_for(KEY, "a.csv") == f"exports/made here/{KEY}/a.csv"


def test_the_longest_path_fits_the_column() -> None:
    stored = [storage.save(path_for(KEY, "x" * 999), File(io.BytesIO(b""))) for _ in range(3)]
    assert len({path for path, _ in stored}) == 3
    assert max(len(path) for path, _ in stored) <= storage.MAX_PATH_LENGTH


@pytest.mark.parametrize("max_size", [10, 10_000_000], ids=["rolled over", "in memory"])
def test_a_spooled_file_is_stored_from_its_beginning(max_size: int) -> None:
    content = b"0123456789" * 100_000
    with SpooledTemporaryFile(max_size=max_size) as spool:
        spool.write(content)
        stored = storage.save(path_for(KEY, "a.csv"), File(spool, "a.csv"))
    assert stored.size == len(content)
    assert (folder() / "a.csv").read_bytes() == content


def test_an_empty_file_is_stored() -> None:
    stored = storage.save(path_for(KEY, "a.csv"), File(io.BytesIO()))
    assert stored.size == 0
    assert (folder() / "a.csv").read_bytes() == b""


def test_a_taken_name_is_not_overwritten() -> None:
    first = storage.save(path_for(KEY, "a.csv"), File(io.BytesIO(b"first")))
    second = storage.save(path_for(KEY, "a.csv"), File(io.BytesIO(b"second")))
    assert first.path == f"downloads/{KEY}/a.csv"
    assert second.path != first.path
    assert (Path(project_settings.MEDIA_ROOT) / second.path).read_bytes() == b"second"
    assert (folder() / "a.csv").read_bytes() == b"first"


class RenamingStorage(FileSystemStorage):
    """A storage that chooses its own names."""

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        return f"elsewhere/{uuid.uuid4().hex}"


class ClosingStorage(FileSystemStorage):
    """A storage that reads from the current position and closes the file, as S3's does."""

    def _save(self, name: str, content: Any) -> str:
        saved: str = super()._save(name, ContentFile(content.read()))
        content.close()
        return saved


class FlatStorage(InMemoryStorage):
    """A storage that has no folders and cannot list them."""

    listdir = Storage.listdir

    def delete(self, name: str) -> None:
        if not self.exists(name):
            raise FileNotFoundError(name)
        super().delete(name)


class BrokenStorage(FileSystemStorage):
    """A storage whose deletions fail."""

    def delete(self, name: str) -> None:
        raise ConnectionError("no route to the storage")


@pytest.fixture
def use_storage(settings: Any) -> Any:
    def use(storage: type[Storage]) -> None:
        settings.STORAGES = {
            **settings.STORAGES,
            "default": {"BACKEND": f"{__name__}.{storage.__name__}"},
        }

    return use


def test_the_path_is_the_one_that_the_storage_returns(use_storage: Any) -> None:
    use_storage(RenamingStorage)
    stored = storage.save(path_for(KEY, "a.csv"), File(io.BytesIO(b"x")))
    assert stored.path.startswith("elsewhere/")
    assert stored_files() == {stored.path}
    # The folder is not the download's own, so only the file itself may be deleted.
    (folder().parent.parent / "elsewhere" / "neighbour").touch()
    storage.sweep(stored.path, download_key=KEY)
    assert stored_files() == {"elsewhere/neighbour"}


def test_a_storage_gets_the_file_from_its_beginning_and_may_close_it(use_storage: Any) -> None:
    use_storage(ClosingStorage)
    content = io.BytesIO()
    content.write(b"12345")
    assert storage.save(path_for(KEY, "a.csv"), File(content)).size == 5
    assert (folder() / "a.csv").read_bytes() == b"12345"


@pytest.fixture
def umask() -> Iterator[None]:
    """Use a umask with which only the owner may read files."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.parametrize("max_size", [10, 10_000_000], ids=["rolled over", "in memory"])
def test_modes_are_those_of_the_storage_with_any_umask(
    umask: None, max_size: int, settings: Any
) -> None:
    backend = "django.core.files.storage.FileSystemStorage"
    modes = {"file_permissions_mode": 0o640, "directory_permissions_mode": 0o750}
    settings.STORAGES = {**settings.STORAGES, "mine": {"BACKEND": backend, "OPTIONS": modes}}
    settings.ASYNC_DOWNLOADS_STORAGE = "mine"
    with SpooledTemporaryFile(max_size=max_size) as spool:
        spool.write(bytes(1000))
        storage.save(path_for(KEY, "a.csv"), File(spool))
    assert (folder() / "a.csv").stat().st_mode & 0o777 == 0o640
    assert folder().stat().st_mode & 0o777 == 0o750


@pytest.mark.django_db(transaction=True)
def test_a_callers_file_is_copied_and_not_moved(user: Any) -> None:
    with TemporaryUploadedFile("a.csv", "text/csv", 3, None) as file:
        file.write(b"a,b")
        _, key = cache.init_download(user, "a.csv")
        cache.save_download(key, file=file)
        assert not file.closed
        assert Path(file.temporary_file_path()).is_file()
    with storage.storage().open(path_for(key, "a.csv")) as stored:
        assert stored.read() == b"a,b"


def test_a_file_may_be_removed_twice(
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = put(f"downloads/{KEY}/a.csv")
    for _ in range(2):
        storage.remove(path)
        assert stored_files() == set()
    assert caplog.records == []


def test_a_missing_file_may_be_removed_from_a_strict_storage(
    use_storage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    use_storage(FlatStorage)
    storage.remove(f"downloads/{KEY}/a.csv")
    assert caplog.records == []


def test_a_storage_that_cannot_delete_is_logged_and_not_raised(
    use_storage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    path = put(f"downloads/{KEY}/a.csv")
    use_storage(BrokenStorage)
    storage.remove(path)
    storage.sweep(path, download_key=KEY)
    assert path in caplog.text
    assert "no route" in caplog.text


def test_a_sweep_deletes_only_the_downloads_folder() -> None:
    path = put(f"downloads/{KEY}/a.csv")
    put(f"downloads/{KEY}/left over.tmp")
    outside = {
        put(f"downloads/{OTHER_KEY}/a.csv"),
        put("downloads/a.csv"),
        put(f"elsewhere/{OTHER_KEY}/a.csv"),
        put("a.csv"),
    }
    storage.sweep(path, download_key=KEY)
    assert stored_files() == outside
    assert not folder().exists()
    storage.sweep(path, download_key=KEY)
    assert stored_files() == outside


@pytest.mark.parametrize(
    "path", [f"downloads/{OTHER_KEY}/a.csv", "downloads/a.csv", "a.csv", f"downloads/{KEY}", ""]
)
def test_a_sweep_of_a_path_outside_the_downloads_folder_deletes_only_that_file(path: str) -> None:
    kept = {
        put(f"downloads/{OTHER_KEY}/neighbour.csv"),
        put("downloads/neighbour.csv"),
        put("neighbour.csv"),
        put(f"downloads/{KEY}/neighbour.csv"),
    }
    if path and not path.endswith(KEY):
        put(path)
    storage.sweep(path, download_key=KEY)
    assert stored_files() == kept


def test_a_sweep_keeps_an_empty_folder_of_another_name() -> None:
    path = put(f"elsewhere/{OTHER_KEY}/a.csv")
    storage.sweep(path, download_key=KEY)
    assert stored_files() == set()
    assert (folder().parent.parent / "elsewhere" / OTHER_KEY).is_dir()


def test_a_sweep_can_keep_one_file() -> None:
    kept = put(f"downloads/{KEY}/a_1.csv")
    put(f"downloads/{KEY}/a.csv")
    storage.sweep(f"downloads/{KEY}/a.csv", download_key=KEY, keep=kept)
    assert stored_files() == {kept}


def test_a_sweep_keeps_a_folder_in_the_folder(
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = put(f"downloads/{KEY}/a.csv")
    deeper = put(f"downloads/{KEY}/another/b.csv")
    storage.sweep(path, download_key=KEY)
    assert stored_files() == {deeper}


def test_in_a_storage_without_folders_a_sweep_deletes_the_file(
    use_storage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    use_storage(FlatStorage)
    path = put(f"downloads/{KEY}/a.csv")
    neighbour = put(f"downloads/{OTHER_KEY}/a.csv")
    storage.sweep(path, download_key=KEY)
    assert not storage.storage().exists(path)
    assert storage.storage().exists(neighbour)
    storage.sweep(path, download_key=KEY)
    assert caplog.records == []


def test_in_a_storage_that_cannot_be_listed_a_sweep_deletes_the_file(settings: Any) -> None:
    path = put(f"downloads/{KEY}/a.csv")
    refusing = {"BACKEND": "tests.storages.StorageWithoutList"}
    settings.STORAGES = {**settings.STORAGES, "default": refusing}
    storage.sweep(path, download_key=KEY)
    assert stored_files() == set()


def test_the_default_storage_is_looked_up_at_each_use(use_storage: Any) -> None:
    assert isinstance(storage.storage(), FileSystemStorage)
    use_storage(FlatStorage)
    assert isinstance(storage.storage(), FlatStorage)


def test_the_storage_is_the_one_that_the_setting_names(settings: Any, tmp_path: Path) -> None:
    backend = "django.core.files.storage.FileSystemStorage"
    options = {"location": str(tmp_path)}
    settings.STORAGES = {**settings.STORAGES, "mine": {"BACKEND": backend, "OPTIONS": options}}
    settings.ASYNC_DOWNLOADS_STORAGE = "mine"
    path = put(f"downloads/{KEY}/a.csv")
    assert storage.root() == tmp_path
    assert (tmp_path / path).is_file()
    assert stored_files() == set()
