"""An XLSX file, which is a ZIP file with XML parts, written as a stream.

Nothing is kept on disk: the rows of a sheet go to the stream as they come. It has only the
parts that a spreadsheet needs.
"""

import zipfile
from contextlib import closing, nullcontext
from types import TracebackType
from typing import IO, Final, Self, cast

from async_downloads.formats.sinks import Sink

__all__ = ["BOLD", "DECIMAL_FORMATS", "FORMATS", "Workbook"]

#: How dates, times and durations are shown, in the order of their styles.
FORMATS: Final = (
    *("yyyy-mm-dd hh:mm:ss", "yyyy-mm-dd hh:mm:ss.000", "yyyy-mm-dd"),
    *("hh:mm:ss", "hh:mm:ss.000", "[h]:mm:ss"),
)

#: How decimal numbers are shown, with 1 to 6 places; their styles come after those above.
DECIMAL_FORMATS: Final = tuple(f"0.{'0' * places}" for places in range(1, 7))

_NUMBER_FORMATS: Final = (*FORMATS, *DECIMAL_FORMATS)

#: The style of a header. 0 is the style of any other cell, and those of the formats come next.
BOLD: Final = 1

#: A sheet of so many bytes is full. Python must announce a ZIP member of more than 2 GiB, and
#: Excel takes a workbook with such a member for damaged.
MAX_SHEET: Final = (1 << 31) - (1 << 26)

#: Characters that are compressed at a time.
PIECE_SIZE: Final = 1 << 16

_DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_MAIN: Final = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE: Final = "http://schemas.openxmlformats.org/package/2006"
_KINDS: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml"

_SHEET_TAIL: Final = "</sheetData></worksheet>"

_PLAIN: Final = 'fillId="0" borderId="0"'

_STYLES: Final = (
    f'<styleSheet xmlns="{_MAIN}">'
    f'<numFmts count="{len(_NUMBER_FORMATS)}">'
    + "".join(
        f'<numFmt numFmtId="{number}" formatCode="{text}"/>'
        for number, text in enumerate(_NUMBER_FORMATS, 164)
    )
    + "</numFmts>"
    '<fonts count="2"><font><sz val="11"/><name val="Calibri"/><family val="2"/></font>'
    '<font><b/><sz val="11"/><name val="Calibri"/><family val="2"/></font></fonts>'
    '<fills count="2"><fill><patternFill patternType="none"/></fill>'
    '<fill><patternFill patternType="gray125"/></fill></fills>'
    '<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>'
    f'<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" {_PLAIN}/></cellStyleXfs>'
    f'<cellXfs count="{2 + len(_NUMBER_FORMATS)}">'
    f'<xf numFmtId="0" fontId="0" {_PLAIN} xfId="0"/>'
    f'<xf numFmtId="0" fontId="1" {_PLAIN} xfId="0" applyFont="1"/>'
    + "".join(
        f'<xf numFmtId="{number}" fontId="0" {_PLAIN} xfId="0" applyNumberFormat="1"/>'
        for number in range(164, 164 + len(_NUMBER_FORMATS))
    )
    + '</cellXfs><cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/>'
    "</cellStyles></styleSheet>"
)


class Workbook:
    """Writes a workbook; a context manager that writes the end of the file."""

    def __init__(self, stream: IO[bytes]):
        """Begin the file.

        Args:
            stream: Receives the bytes. It need not be seekable, and is left open.
        """
        sink = cast("IO[bytes]", Sink(stream))
        self._file = zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED)
        self._sheet: IO[bytes] | None = None
        self._pieces: list[str] = []
        self._buffered = 0
        self._sheets = 0
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._end_sheet()
                self._write_rest()
        finally:
            with closing(self._file), self._sheet or nullcontext():
                self._sheet = None

    @property
    def is_full(self) -> bool:
        """Whether the sheet has so many bytes that the next row should begin another one."""
        return self._size >= MAX_SHEET

    def begin_sheet(self, widths: dict[int, int], *, frozen: bool) -> None:
        """End the last sheet, if there is one, and begin the next.

        Args:
            widths: The widths, in characters, of columns without the usual width.
            frozen: Whether the first row stays visible.
        """
        self._end_sheet()
        self._sheets += 1
        self._size = 0
        self._sheet = self._file.open(_member(f"xl/worksheets/sheet{self._sheets}.xml"), "w")
        selected = ' tabSelected="1"' if self._sheets == 1 else ""
        self.write(
            f'{_DECLARATION}<worksheet xmlns="{_MAIN}">'
            f'<sheetViews><sheetView{selected} workbookViewId="0">'
        )
        if frozen:
            self.write(
                '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/>'
                '<selection pane="bottomLeft"/>'
            )
        self.write('</sheetView></sheetViews><sheetFormatPr defaultRowHeight="15"/>')
        if widths:
            self.write(f"<cols>{''.join(map(_column, sorted(widths.items())))}</cols>")
        self.write("<sheetData>")

    def write(self, text: str) -> None:
        """Write a row of the sheet, as XML."""
        self._pieces.append(text)
        self._buffered += len(text)
        if self._buffered >= PIECE_SIZE:
            self._flush()

    def _flush(self) -> None:
        if self._sheet:
            self._size += self._sheet.write("".join(self._pieces).encode())
        self._pieces.clear()
        self._buffered = 0

    def _end_sheet(self) -> None:
        if self._sheet:
            self.write(_SHEET_TAIL)
            self._flush()
            self._sheet.close()
            self._sheet = None

    def _write_rest(self) -> None:
        """Write the parts that list the sheets."""
        numbers = range(1, self._sheets + 1)
        sheets = "".join(f'<sheet name="Sheet{n}" sheetId="{n}" r:id="rId{n}"/>' for n in numbers)
        to_sheets = [(f"{_OFFICE}/worksheet", f"worksheets/sheet{n}.xml") for n in numbers]
        kinds = {f"/xl/worksheets/sheet{n}.xml": f"{_KINDS}.worksheet+xml" for n in numbers}
        kinds |= {
            "/xl/workbook.xml": f"{_KINDS}.sheet.main+xml",
            "/xl/styles.xml": f"{_KINDS}.styles+xml",
        }
        parts = {
            "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}">'
            f"<bookViews><workbookView/></bookViews><sheets>{sheets}</sheets></workbook>",
            "xl/styles.xml": _STYLES,
            "xl/_rels/workbook.xml.rels": _relations(
                [*to_sheets, (f"{_OFFICE}/styles", "styles.xml")]
            ),
            "_rels/.rels": _relations([(f"{_OFFICE}/officeDocument", "xl/workbook.xml")]),
            "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">'
            f'<Default Extension="rels" ContentType="'
            f'application/vnd.openxmlformats-package.relationships+xml"/>'
            f'<Default Extension="xml" ContentType="application/xml"/>'
            + "".join(
                f'<Override PartName="{name}" ContentType="{kind}"/>'
                for name, kind in kinds.items()
            )
            + "</Types>",
        }
        for name, text in parts.items():
            self._file.writestr(_member(name), _DECLARATION + text)


def _member(name: str) -> zipfile.ZipInfo:
    """Return a part without a time, so that the same rows are the same bytes."""
    part = zipfile.ZipInfo(name)
    part.compress_type = zipfile.ZIP_DEFLATED
    return part


def _column(column_and_width: tuple[int, int]) -> str:
    """Return a column with a width in characters: Excel counts 7 pixels each, and 5 as a margin."""
    column, characters = column_and_width
    width = (characters * 7 + 5) * 256 // 7 / 256
    return f'<col min="{column + 1}" max="{column + 1}" width="{width}" customWidth="1"/>'


def _relations(targets: list[tuple[str, str]]) -> str:
    return (
        f'<Relationships xmlns="{_PACKAGE}/relationships">'
        + "".join(
            f'<Relationship Id="rId{number}" Type="{kind}" Target="{target}"/>'
            for number, (kind, target) in enumerate(targets, 1)
        )
        + "</Relationships>"
    )
