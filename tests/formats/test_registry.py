"""The format that a name or a file name means."""

import io
from collections.abc import Iterable
from typing import IO, Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from hypothesis import given
from hypothesis import strategies as st

from async_downloads.files.names import stored_name
from async_downloads.formats import Format, Options, register, registry

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the formats that a test registers."""
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
        # An unknown extension means CSV.
        ("orders.txt", "csv"),
        ("orders.dat", "csv"),
        ("orders.xls", "csv"),
        ("orders", "csv"),
        ("csv", "csv"),
        ("orders.csv.bak", "csv"),
        # The name is sanitised first.
        ("orders.xlsx ", "xlsx"),
        ("orders.xlsx.", "xlsx"),
        ("orders.xlsx. . ", "xlsx"),
        ("orders.xlsx?", "xlsx"),
        ("orders.xl?sx", "xlsx"),
        ("orders.xlsx\n", "xlsx"),
        ("orders.xlsx\u202e", "xlsx"),
        ("orders.xlsx\ud800", "xlsx"),
        ("2026/orders.xlsx/", "xlsx"),
        ("orders.csv.gz?", "csv.gz"),
        ("orders.xlsx?.gz", "xlsx.gz"),
        ("con.xlsx", "xlsx"),
        (".xlsx", "xlsx"),
        ("x" * 300 + ".xlsx?", "xlsx"),
        ("x" * 300 + ".xlsx.gz", "xlsx.gz"),
        ("?", "csv"),
        ("", "csv"),
    ],
)
def test_the_extension_of_a_file_name_means_a_format(filename: str, name: str) -> None:
    assert registry.for_filename(filename).name == name


@given(
    st.text("ab.? \n\u202e/*ü", max_size=300),
    st.sampled_from([".csv", ".xlsx", ".XLSX", ".jsonl.gz", ".zip", ".xls", ""]),
    st.text('.? "\r<|:', max_size=9),
)
def test_the_stored_name_has_the_extension_of_the_format(
    stem: str, extension: str, behind: str
) -> None:
    filename = f"a{stem}{extension}{behind}"
    found = registry.for_filename(filename)
    stored = stored_name(filename)
    assert found.name == registry.for_filename(stored).name
    assert registry.content_type_of(filename) == registry.content_type_of(stored)
    wanted = registry.named("xlsx")
    assert registry.for_filename(registry.with_extension(filename, wanted)).name == "xlsx"


MISSPELT = {
    # Each kind of misspelling with each kind of extension.
    ".xlsx": [
        "xslx",
        "xlxs",
        "lxsx",
        "xsx",
        "xlx",
        "xlsxx",
        "xxlsx",
        "xllsx",
        "ｘｌｓｘ",
        "xlsx\u200b",
        "xlѕx",
        "хlsx",
        "xĺsx",
    ],
    ".csv": ["cvs", "scv", "ccsv", "csvv", "ｃｓｖ", "çsv", "сsv"],
    ".tsv": ["tvs", "stv", "tsvv"],
    ".jsonl": ["jsnol", "josnl", "jsonnl", "jsonll", "jsonl\xad", "sonl", "jsnl"],
    ".ndjson": ["ndjosn", "djson", "nddjson"],
    ".zip": ["zpi", "izp", "zipp", "zi̇p"],
    ".gz": ["zg", "gzz"],
}


@pytest.mark.parametrize(
    ("ending", "meant"),
    [(ending, meant) for meant, endings in MISSPELT.items() for ending in endings],
    ids=ascii,
)
def test_a_misspelt_extension_means_csv_and_is_noticed(ending: str, meant: str) -> None:
    for filename in (f"orders.{ending}", f"orders.{ending.upper()}?"):
        assert registry.for_filename(filename) is registry.CSV
        assert registry.meant_by(filename) == meant
    assert registry.meant_by(f"orders.{ending}.gz") == meant
    assert registry.meant_by(f"orders.{ending}.zip") == meant


def test_a_wide_full_stop_is_a_full_stop() -> None:
    assert registry.meant_by("orders．xlsx") == registry.meant_by("orders․xlsx") == ".xlsx"


@pytest.mark.parametrize(
    "ending",
    [
        # Extensions into which 0.6 wrote CSV, or of a site's own files.
        *("xls", "txt", "pdf", "dat", "json", "html", "htm", "xml", "bat", "tar", "vcs", "tsx"),
        *("psv", "ssv", "dsv", "usv", "xlsm", "xlsb", "xltx", "xlam", "jsonld", "json5", "jsonc"),
        *("ldjson", "geojson", "css", "cs", "sv", "cv", "ods", "parquet", "gzip", "zipx", "7z"),
        *("bak", "2026-11", "0", "表", "tgz", "bz2", "doc", "docx", "png", "csv1", "c", "z", "g"),
    ],
)
def test_another_known_extension_is_not_misspelt(ending: str) -> None:
    assert registry.meant_by(f"orders.{ending}") == ""
    assert registry.meant_by(f"orders.{ending}.gz") == ""


@pytest.mark.parametrize(
    "filename", ["cvs", "xslx", "orders", "", ".", "orders.csv", "a.CSV?", "a.xlsx.gz", "a.gz"]
)
def test_a_correct_name_is_not_misspelt(filename: str) -> None:
    assert registry.meant_by(filename) == ""


def test_the_extension_of_a_site_can_be_misspelt() -> None:
    register(LINES)
    assert registry.meant_by("orders.liens") == ".lines"


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
        ("orders.xlsx?", "xlsx", "orders.xlsx?"),
        ("a/b.csv?", "xlsx", "ab.xlsx"),
        (".csv", "xlsx", ".xlsx"),
        ("orders.zip", "tsv", "orders.tsv"),
        # An unknown extension may be a part of the name.
        ("orders.2026-11", "xlsx", "orders.2026-11.xlsx"),
        ("v1.0", "csv", "v1.0.csv"),
    ],
)
def test_a_file_gets_the_extension_of_its_format(filename: str, wanted: str, given: str) -> None:
    assert registry.with_extension(filename, registry.named(wanted)) == given


@pytest.mark.parametrize("name", ["", "pdf", "CSV", ".csv", "gz", ".gz", "csv.gz.gz", "csv.bz2"])
def test_an_unknown_name_is_refused_with_the_known_names(name: str) -> None:
    with pytest.raises(
        ValueError, match=r"is unknown\. .*csv, tsv, csv-excel, jsonl, xlsx, ods, parquet, zip"
    ):
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


def test_the_longest_extension_wins() -> None:
    register(Format("text", (".txt",), "text/plain", write_lines))
    register(LINES)
    assert registry.for_filename("map.geo.txt") is LINES
    assert registry.split("map.geo.txt") == ("map", ".geo.txt")


def test_a_format_replaces_the_one_of_the_same_name() -> None:
    ours = Format("csv", (".csv",), "text/x-mine", write_lines)
    register(ours)
    assert registry.for_filename("orders.csv") is ours


def test_the_first_format_with_an_extension_wins() -> None:
    register(Format("csv-semicolons", (".csv",), "text/csv", write_lines))
    assert registry.for_filename("orders.csv").name == "csv"
    assert registry.named("csv-semicolons").write is write_lines


@pytest.mark.parametrize(("name", "extension"), [("x.gz", ".x"), ("x", ".x.gz"), ("x", ".gz")])
def test_an_extension_for_compressed_files_cannot_be_registered(name: str, extension: str) -> None:
    with pytest.raises(ValueError, match=r"means a compressed format"):
        register(Format(name, (extension,), "text/plain", write_lines))


def test_a_missing_package_is_an_error_when_its_format_is_chosen() -> None:
    register(Format("xlsx", (".xlsx",), XLSX, write_lines, requires="no_such_module"))
    for chosen in (
        lambda: registry.named("xlsx"),
        lambda: registry.named("xlsx.gz"),
        lambda: registry.for_filename("orders.xlsx"),
    ):
        with pytest.raises(ImproperlyConfigured, match="no_such_module"):
            chosen()
    # A site that makes such a file in another way can serve it.
    assert registry.content_type_of("orders.xlsx") == XLSX
