"""The parts of an XLSX file."""

import io
import zipfile
from xml.etree import ElementTree

import openpyxl
import pytest

from async_downloads.formats import workbooks, xml_packages
from async_downloads.formats.workbooks import DECIMAL_FORMATS, FORMATS, Workbook

MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def book_of(*sheets: str) -> io.BytesIO:
    stream = io.BytesIO()
    with Workbook(stream, "Orders", "Ada") as book:
        for text in sheets:
            book.begin_sheet({1: 20}, filtered="A")
            book.write_row(text)
    return stream


ROW = '<row r="1"><c r="A1"><v>1</v></c></row>'


def test_each_part_is_xml_with_a_content_type_and_a_relation() -> None:
    with zipfile.ZipFile(book_of(ROW, ROW)) as found:
        assert found.testzip() is None
        parts = {
            name: ElementTree.fromstring(found.read(name))  # noqa: S314 (our own)
            for name in found.namelist()
        }
    properties = parts["docProps/core.xml"]
    assert [each.text for each in properties] == ["Orders", "Ada"]
    sheets = {"xl/worksheets/sheet1.xml", "xl/worksheets/sheet2.xml"}
    kinds = {each.get("PartName") for each in parts.pop("[Content_Types].xml")} - {None}
    relations = parts.pop("_rels/.rels")
    of_the_book = parts.pop("xl/_rels/workbook.xml.rels")
    assert {f"/{name}" for name in parts} == kinds
    assert [each.get("Target") for each in relations] == [
        "xl/workbook.xml",
        "docProps/core.xml",
    ]
    assert {f"xl/{each.get('Target')}" for each in of_the_book} == sheets | {"xl/styles.xml"}
    # The schema requires this order.
    assert [each.tag.removeprefix(MAIN) for each in parts["xl/worksheets/sheet1.xml"]] == [
        *("sheetViews", "sheetFormatPr", "cols", "sheetData", "autoFilter")
    ]
    styles = parts["xl/styles.xml"].find(f"{MAIN}cellXfs")
    assert styles is not None
    assert len(styles) == int(styles.get("count", "")) == 3 + len(FORMATS) + len(DECIMAL_FORMATS)


def test_another_library_reads_the_sheets() -> None:
    book = openpyxl.load_workbook(book_of(ROW, ROW.replace(">1<", ">2<")))
    assert book.sheetnames == ["Orders (1 of 2)", "Orders (2 of 2)"]
    assert [sheet["A1"].value for sheet in book.worksheets] == [1, 2]
    assert [sheet.column_dimensions["B"].width // 1 for sheet in book.worksheets] == [20, 20]


def test_the_same_rows_are_the_same_bytes() -> None:
    assert book_of(ROW).getvalue() == book_of(ROW).getvalue()


def test_a_sheet_is_full_before_its_size_must_be_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    # The whole sheet, with its end after the last row, must not need ZIP64.
    assert workbooks.MAX_SHEET + 2 * xml_packages.PIECE_SIZE * 4 < zipfile.ZIP64_LIMIT
    monkeypatch.setattr(workbooks, "MAX_SHEET", 3 * xml_packages.PIECE_SIZE)
    with Workbook(io.BytesIO(), "Orders") as book:
        for _ in range(2):
            book.begin_sheet({}, filtered="")
            assert not book.is_full
            for number in range(4):
                book.write_row(f"<row r='{number}'>" + " " * xml_packages.PIECE_SIZE + "</row>")
            assert book.is_full


def test_no_part_needs_zip64() -> None:
    stream = book_of(ROW)
    with zipfile.ZipFile(stream) as found:
        # Excel takes a workbook with parts of version 4.5, which is ZIP64, for damaged.
        assert {info.extract_version for info in found.infolist()} == {20}


def test_a_failure_ends_the_file_and_leaves_the_stream_open() -> None:
    stream = io.BytesIO()
    with pytest.raises(ZeroDivisionError), Workbook(stream, "Orders", "Ada") as book:
        book.begin_sheet({}, filtered="")
        book.write_row(ROW)
        raise ZeroDivisionError
    assert not stream.closed
    with zipfile.ZipFile(stream) as found:
        assert "xl/workbook.xml" not in found.namelist()
