"""Which format a name or a file name means."""

import io
from collections.abc import Iterable
from typing import IO, Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from async_downloads.formats import Format, Options, register, registry

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what a test registers."""
    monkeypatch.setattr(registry, "_formats", registry._formats.copy())


def write_lines(rows: Iterable[Iterable[Any]], stream: IO[bytes], options: Options) -> int:
    lines = [" ".join(map(str, row)).encode() + b"\n" for row in rows]
    stream.write(b"".join(lines))
    return len(lines)


LINES = Format("lines", (".lines", ".geo.txt"), "text/x-lines", write_lines)


@pytest.mark.parametrize(
    ("filename", "name"),
    [
        ("orders.csv", "csv"),
        ("ORDERS.CSV", "csv"),
        ("orders.tsv", "tsv"),
        ("orders.tab", "tsv"),
        ("orders.jsonl", "jsonl"),
        ("orders.ndjson", "jsonl"),
        ("orders.xlsx", "xlsx"),
        ("orders.zip", "zip"),
        ("orders.csv.gz", "csv.gz"),
        ("orders.XLSX.GZ", "xlsx.gz"),
        ("orders.gz", "csv.gz"),
        # As ever: what is unknown is CSV.
        ("orders.txt", "csv"),
        ("orders.dat", "csv"),
        ("orders.xls", "csv"),
        ("orders", "csv"),
        ("csv", "csv"),
        ("orders.csv.bak", "csv"),
        ("orders.xlsx ", "csv"),
    ],
)
def test_the_extension_of_a_file_name_means_a_format(filename: str, name: str) -> None:
    assert registry.for_filename(filename).name == name


@pytest.mark.parametrize(
    ("filename", "content_type"),
    [
        ("orders.csv", "text/csv"),
        ("orders.tsv", "text/tab-separated-values"),
        ("orders.jsonl", "application/jsonl"),
        ("orders.xlsx", XLSX),
        ("orders.zip", "application/zip"),
        ("orders.csv.gz", "application/gzip"),
        ("whatever.tar.gz", "application/gzip"),
        ("orders.pdf", None),
        ("orders", None),
    ],
)
def test_the_extension_means_a_content_type(filename: str, content_type: str | None) -> None:
    assert registry.content_type_of(filename) == content_type


@pytest.mark.parametrize(
    ("filename", "wanted", "given"),
    [
        ("orders.csv", "xlsx", "orders.xlsx"),
        ("Orders.CSV", "csv", "Orders.CSV"),
        ("orders.csv", "csv-excel", "orders.csv"),
        ("orders.ndjson", "jsonl", "orders.ndjson"),
        ("orders", "xlsx", "orders.xlsx"),
        ("orders.csv", "csv.gz", "orders.csv.gz"),
        ("orders.csv.gz", "csv.gz", "orders.csv.gz"),
        ("orders.csv.gz", "xlsx", "orders.xlsx"),
        ("orders.csv.gz", "csv", "orders.csv"),
        ("orders.gz", "csv.gz", "orders.csv.gz"),
        ("orders.zip", "tsv", "orders.tsv"),
        # What means nothing may be a part of the name.
        ("orders.2026-11", "xlsx", "orders.2026-11.xlsx"),
        ("v1.0", "csv", "v1.0.csv"),
    ],
)
def test_a_file_gets_the_extension_of_its_format(filename: str, wanted: str, given: str) -> None:
    assert registry.with_extension(filename, registry.named(wanted)) == given


@pytest.mark.parametrize("name", ["", "pdf", "CSV", ".csv", "gz", ".gz", "csv.gz.gz", "csv.bz2"])
def test_a_name_that_is_none_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(ValueError, match=r"no format .*csv, tsv, csv-excel, jsonl, xlsx, zip"):
        registry.named(name)


def test_a_format_of_a_site_is_found_by_its_name_and_by_its_extensions() -> None:
    register(LINES)
    assert registry.named("lines") is LINES
    assert registry.for_filename("map.geo.txt") is LINES
    assert registry.content_type_of("orders.lines") == "text/x-lines"
    assert registry.with_extension("orders.csv", LINES) == "orders.lines"
    stream = io.BytesIO()
    assert registry.named("lines.gz").write([["a", 1]], stream, Options()) == 1
    assert stream.getvalue()[:2] == b"\x1f\x8b"


def test_the_longest_extension_counts() -> None:
    register(Format("text", (".txt",), "text/plain", write_lines))
    register(LINES)
    assert registry.for_filename("map.geo.txt") is LINES
    assert registry.split("map.geo.txt") == ("map", ".geo.txt")


def test_a_format_replaces_the_one_of_the_same_name() -> None:
    ours = Format("csv", (".csv",), "text/x-mine", write_lines)
    register(ours)
    assert registry.for_filename("orders.csv") is ours


def test_an_extension_is_that_of_the_format_that_was_first() -> None:
    register(Format("csv-semicolons", (".csv",), "text/csv", write_lines))
    assert registry.for_filename("orders.csv").name == "csv"
    assert registry.named("csv-semicolons").write is write_lines


@pytest.mark.parametrize(("name", "extension"), [("x.gz", ".x"), ("x", ".x.gz"), ("x", ".gz")])
def test_what_means_compressed_is_not_for_a_site_to_take(name: str, extension: str) -> None:
    with pytest.raises(ValueError, match=r"means a compressed format"):
        register(Format(name, (extension,), "text/plain", write_lines))


def test_what_is_not_installed_is_told_when_it_is_chosen() -> None:
    register(Format("xlsx", (".xlsx",), XLSX, write_lines, requires="no_such_module"))
    for chosen in (
        lambda: registry.named("xlsx"),
        lambda: registry.named("xlsx.gz"),
        lambda: registry.for_filename("orders.xlsx"),
    ):
        with pytest.raises(ImproperlyConfigured, match="no_such_module"):
            chosen()
    # Whoever has made such a file by other means can serve it.
    assert registry.content_type_of("orders.xlsx") == XLSX
