"""ZIP files, written as a stream."""

import io
import zipfile
from typing import Any, cast

import pytest

from async_downloads.formats import Options, registry
from async_downloads.formats.zipped import Archive


class OneWay(io.RawIOBase):
    """A stream that cannot go back, such as a socket."""

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


@pytest.mark.parametrize("kind", [io.BytesIO, OneWay])
def test_it_needs_no_stream_that_goes_back(kind: type) -> None:
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
        # Readable for everybody where it is unpacked, and from our days.
        assert {info.external_attr >> 16 for info in found.infolist()} == {0o644}
        assert min(info.date_time for info in found.infolist())[0] > 2020


@pytest.mark.parametrize("kind", [io.BytesIO, OneWay])
def test_members_and_archives_may_be_larger_than_four_gigabytes(kind: type) -> None:
    stream = kind()
    with Archive(stream) as archive, archive.member("a.txt") as member:
        member.write(b"x")
        # Python checks it at the end, and not what was really written.
        cast("Any", member)._file_size = 5 << 30
        told = cast("Any", member)._zinfo
    assert told.file_size == 5 << 30


@pytest.mark.parametrize(
    ("name", "member"),
    [
        ("orders.zip", "orders.csv"),
        ("orders.xlsx.zip", "orders.xlsx"),
        ("2026/orders.zip", "orders.csv"),
        (".zip", ".csv"),
    ],
)
def test_rows_alone_are_an_archive_of_one_member(name: str, member: str) -> None:
    stream = io.BytesIO()
    assert registry.named("zip").write([["a"]], stream, Options(name, ["b"])) == 1
    with zipfile.ZipFile(stream) as found:
        assert found.namelist() == [member.lstrip(".") if member == ".csv" else member]
        if member.endswith(".csv"):
            assert found.read(found.namelist()[0]) == b"b\na\n"


def test_a_failure_is_told_as_it_is() -> None:
    with (
        pytest.raises(ZeroDivisionError),
        Archive(io.BytesIO()) as archive,
        archive.member("a.txt"),
    ):
        raise ZeroDivisionError


def test_a_full_disk_is_told_as_it_is() -> None:
    class FullDisk(io.BytesIO):
        def write(self, data: Any) -> int:
            if self.tell() > 10_000:
                raise OSError(28, "No space left on device")
            return super().write(data)

    stream = FullDisk()
    with pytest.raises(OSError, match="No space left"), Archive(stream) as archive:
        for number in range(1000):
            with archive.member(f"{number}.txt") as member:
                member.write(b"x" * 1000)
    assert not stream.closed
