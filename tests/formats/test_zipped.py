"""ZIP files, written as a stream."""

import io
import struct
import unicodedata
import zipfile
from pathlib import PurePosixPath
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from async_downloads.formats import Options, registry, zipped
from async_downloads.formats.zipped import Archive
from tests.formats.streams import FullStream, no_space


class OneWay(io.RawIOBase):
    """A stream that is not seekable, such as a socket."""

    def __init__(self) -> None:
        super().__init__()
        self.content = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.content += data
        return len(data)


def names_of(*names: str) -> list[str]:
    stream = io.BytesIO()
    with Archive(stream) as archive:
        for name in names:
            with archive.member(name) as member:
                member.write(b"x")
    with zipfile.ZipFile(stream) as found:
        assert found.testzip() is None
        return found.namelist()


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("orders.csv", "orders.csv"),
        ("2026/orders.csv", "2026/orders.csv"),
        ("2026\\orders.csv", "2026/orders.csv"),
        ("/etc/passwd", "etc/passwd"),
        ("../../etc/passwd", "etc/passwd"),
        ("a/./b//c", "a/b/c"),
        ("C:\\autoexec.bat", "C/autoexec.bat"),
        ("Größe 名前.csv", "Größe 名前.csv"),
        ("a\x00b\nc.csv", "abc.csv"),
        ("\u202egnp.exe", "gnp.exe"),
        ("", "download"),
        ("..", "download"),
        ("/", "download"),
    ],
)
def test_no_name_leads_out_of_the_archive(name: str, safe: str) -> None:
    assert names_of(name) == [safe]


def test_a_name_that_is_taken_gets_a_number() -> None:
    assert names_of("a.csv.gz", "A.CSV.GZ", "a.csv.gz", "b/a.csv.gz", "a", "a", "a (2)") == [
        "a.csv.gz",
        "A (2).CSV.GZ",
        "a (3).csv.gz",
        "b/a.csv.gz",
        "a",
        "a (2)",
        "a (2) (2)",
    ]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["a", "a/b", "a/c"], ["a", "a (2)/b", "a (2)/c"]),
        (["a/b", "a"], ["a/b", "a (2)"]),
        (["a/b", "a", "a", "a/c"], ["a/b", "a (2)", "a (3)", "a/c"]),
        (["a", "A/b", "a (2)"], ["a", "A (2)/b", "a (2) (2)"]),
        (["a (2)", "a", "a/b"], ["a (2)", "a", "a (3)/b"]),
        (["a.csv", "a.csv/b.csv", "a.csv"], ["a.csv", "a.csv (2)/b.csv", "a (2).csv"]),
        (["x/a", "x/a/b/c", "x/a/b"], ["x/a", "x/a (2)/b/c", "x/a (2)/b (2)"]),
        (["a.", "a ", "a./b", "a?"], ["a", "a (2)", "a (3)/b", "a (4)"]),
        (["\u00e9.csv", "e\u0301.csv"], ["\u00e9.csv", "e\u0301 (2).csv"]),
        (["Straße", "STRASSE"], ["Straße", "STRASSE (2)"]),
        (["v1.2 of 2026.csv"] * 2, ["v1.2 of 2026.csv", "v1.2 of 2026 (2).csv"]),
        (["con", "CON.csv", "con"], ["con_", "CON_.csv", "con_ (2)"]),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_no_file_has_the_name_of_a_folder(names: list[str], found: list[str]) -> None:
    assert names_of(*names) == found


PARTS = st.text("aA. \u00e9?1(2)", min_size=1, max_size=4)
NAMES = st.lists(PARTS, min_size=1, max_size=4).map("/".join)


def same(path: str) -> str:
    return unicodedata.normalize("NFC", path).lower()


@given(st.lists(NAMES, max_size=12))
def test_all_members_can_be_extracted(names: list[str]) -> None:
    paths = [same(path) for path in names_of(*names)]
    folders = {str(parent) for path in paths for parent in PurePosixPath(path).parents}
    assert len(set(paths)) == len(names)
    assert not folders & set(paths)
    for part in {part for path in paths for part in path.split("/")}:
        assert part not in {"", ".", ".."}
        assert part[-1] not in ". "


@pytest.mark.parametrize(
    "names",
    [
        ["a.csv"] * 3000,
        ["a", *["a/b"] * 3000],
        [*["a"] * 1500, *["a/b"] * 1500],
        [*[f"a ({number})" for number in range(2, 1500)], *["a"] * 1500],
    ],
    ids=["a name", "in a folder", "a name and a folder", "numbers that are taken"],
)
def test_thousands_of_equal_names_take_one_lookup_each(names: list[str]) -> None:
    looked_up = 0

    class Counting(dict[str, bool]):
        def get(self, *key: Any) -> Any:
            nonlocal looked_up
            looked_up += 1
            return super().get(*key)

    archive = Archive(io.BytesIO())
    archive._is_folder = Counting()
    with archive:
        found = [archive._name_for(name) for name in names]
    assert len(set(found)) == len(names)
    assert looked_up <= 4 * len(names)


@pytest.mark.long
def test_a_path_is_short_enough_to_be_extracted() -> None:
    (name,) = names_of("/".join(["folder"] * 100_000) + "/a.csv")
    assert name.endswith("folder/a.csv")
    assert len(name) < zipped.MAX_PATH
    (name,) = names_of("ü" * 9999)
    assert len(name.encode()) == 200


def test_the_central_directory_agrees_with_the_members() -> None:
    """Read the archive from its beginning, without the central directory."""
    stream = io.BytesIO()
    with Archive(stream) as archive:
        for number in range(3):
            with archive.member(f"ü{number}.txt") as member:
                member.write(b"x" * number * 1000)
    content, at = stream.getvalue(), 0
    with zipfile.ZipFile(stream) as found:
        infos = found.infolist()
    for info in infos:
        signature, version, flags, method, _, _, crc, _, _, name, extra = struct.unpack_from(
            "<IHHHHHIIIHH", content, at
        )
        assert (signature, version, method) == (0x04034B50, info.extract_version, 8)
        assert (info.header_offset, info.flag_bits, info.CRC) == (at, flags, crc)
        assert content[at + 30 : at + 30 + name].decode() == info.filename
        # Twice 8 bytes: the sizes, for which the usual 4 bytes may be too few.
        sizes = struct.unpack_from("<HHQQ", content, at + 30 + name)
        assert (extra, *sizes) == (20, 1, 16, info.file_size, info.compress_size)
        at += 30 + name + extra + info.compress_size
    assert struct.unpack_from("<I", content, at) == (0x02014B50,)


@pytest.mark.parametrize("kind", [io.BytesIO, OneWay])
def test_a_zip_file_needs_no_seekable_stream(kind: type) -> None:
    stream = kind()
    with Archive(stream) as archive:
        for number in range(3):
            with archive.member(f"{number}.txt") as member:
                member.write(b"x" * 100_000)
    content = stream.getvalue() if isinstance(stream, io.BytesIO) else bytes(stream.content)
    assert not stream.closed
    with zipfile.ZipFile(io.BytesIO(content)) as found:
        assert found.testzip() is None
        assert [info.file_size for info in found.infolist()] == [100_000] * 3
        # Readable for everyone after the extraction, and with the current date.
        assert {info.external_attr >> 16 for info in found.infolist()} == {0o644}
        assert min(info.date_time for info in found.infolist())[0] > 2020


@pytest.mark.parametrize("kind", [io.BytesIO, OneWay])
def test_members_and_archives_may_be_larger_than_four_gigabytes(kind: type) -> None:
    stream = kind()
    with Archive(stream) as archive, archive.member("a.txt") as member:
        member.write(b"x")
        # Python checks this at the end, and not the bytes that were written.
        cast("Any", member)._file_size = 5 << 30
        info = cast("Any", member)._zinfo
    assert info.file_size == 5 << 30


@pytest.mark.parametrize(
    ("name", "member"),
    [
        ("orders.zip", "orders.csv"),
        ("orders.xlsx.zip", "orders.xlsx"),
        ("2026/orders.zip", "orders.csv"),
        (".zip", ".csv"),
        ("orders.zip?", "orders.csv"),
        ("orders.xlsx.zip. ", "orders.xlsx"),
        ("orders.xlsx?.zip", "orders.xlsx"),
        ("orders.xlsx..zip", "orders.xlsx"),
    ],
)
def test_rows_become_an_archive_with_one_member(name: str, member: str) -> None:
    stream = io.BytesIO()
    assert registry.named("zip").write([["a"]], stream, Options(name, ["b"])) == 1
    with zipfile.ZipFile(stream) as found:
        assert found.namelist() == [member.lstrip(".") if member == ".csv" else member]
        if member.endswith(".csv"):
            assert found.read(found.namelist()[0]) == b"b\na\n"


def test_an_error_is_raised_unchanged() -> None:
    with (
        pytest.raises(ZeroDivisionError),
        Archive(io.BytesIO()) as archive,
        archive.member("a.txt"),
    ):
        raise ZeroDivisionError


@pytest.mark.parametrize("room", range(10_000, 10_300, 10))
def test_the_error_of_a_full_disk_is_raised_unchanged(room: int) -> None:
    # Whether the data of a member, its header or the end of the file has no room.
    stream = FullStream(room, no_space)
    with pytest.raises(OSError, match="No space left"), Archive(stream) as archive:
        for number in range(1000):
            with archive.member(f"{number}.txt") as member:
                member.write(b"x" * 1000)
    assert not stream.closed
