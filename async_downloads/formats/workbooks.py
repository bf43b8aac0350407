"""An XLSX file, which is a ZIP file with XML parts, written as a stream.

Nothing is kept on disk: the rows of a sheet go to the stream as they come. It has only the
parts that a spreadsheet needs.
"""

from typing import IO, Final
from xml.sax.saxutils import escape, quoteattr

from django.utils.translation import gettext as _

from async_downloads.formats.sheets import quoted_title, sheet_title
from async_downloads.formats.xml_packages import XmlPackage

__all__ = ["BOLD", "DECIMAL_FORMATS", "FORMATS", "WRAPPED", "Workbook"]

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

#: The style of text with several lines, after those of the formats.
WRAPPED: Final = BOLD + 1 + len(_NUMBER_FORMATS)

#: A sheet of so many bytes is full. Python must announce a ZIP member of more than 2 GiB, and
#: Excel takes a workbook with such a member for damaged.
MAX_SHEET: Final = (1 << 31) - (1 << 26)

_DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_MAIN: Final = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE: Final = "http://schemas.openxmlformats.org/package/2006"
_KINDS: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml"

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
    f'<cellXfs count="{3 + len(_NUMBER_FORMATS)}">'
    f'<xf numFmtId="0" fontId="0" {_PLAIN} xfId="0"/>'
    f'<xf numFmtId="0" fontId="1" {_PLAIN} xfId="0" applyFont="1"/>'
    + "".join(
        f'<xf numFmtId="{number}" fontId="0" {_PLAIN} xfId="0" applyNumberFormat="1"/>'
        for number in range(164, 164 + len(_NUMBER_FORMATS))
    )
    + f'<xf numFmtId="0" fontId="0" {_PLAIN} xfId="0" applyAlignment="1">'
    '<alignment vertical="top" wrapText="1"/></xf>'
    '</cellXfs><cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/>'
    "</cellStyles></styleSheet>"
)


class Workbook(XmlPackage):
    """Writes a workbook, each sheet as a part of its own."""

    declaration = _DECLARATION

    def __init__(self, stream: IO[bytes], title: str, creator: str = ""):
        super().__init__(stream, title, creator)
        self._sheets = 0
        self._filtered = ""
        #: The addresses of the cells with a filter, by the number of the sheet.
        self._filters: dict[int, str] = {}

    @property
    def is_full(self) -> bool:
        """Whether the sheet has so many bytes that the next row should begin another one."""
        return self._size >= MAX_SHEET

    def begin_sheet(self, widths: dict[int, int], *, filtered: str) -> None:
        """End the last sheet, if there is one, and begin the next.

        Args:
            widths: The widths, in characters, of columns without the usual width.
            filtered: The letters of the last column, if the first row is a header: it
                stays visible and has filters. Otherwise empty.
        """
        self._end_sheet()
        self._sheets += 1
        self._rows = 0
        self._filtered = filtered
        self._begin_part(f"xl/worksheets/sheet{self._sheets}.xml")
        selected = ' tabSelected="1"' if self._sheets == 1 else ""
        self._write(
            f'<worksheet xmlns="{_MAIN}"><sheetViews><sheetView{selected} workbookViewId="0">'
        )
        if filtered:
            self._write(
                '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/>'
                '<selection pane="bottomLeft"/>'
            )
        self._write('</sheetView></sheetViews><sheetFormatPr defaultRowHeight="15"/>')
        if widths:
            self._write(f"<cols>{''.join(map(_column, sorted(widths.items())))}</cols>")
        self._write("<sheetData>")

    def _end(self) -> None:
        self._end_sheet()
        self._write_rest()

    def _end_sheet(self) -> None:
        if self._part:
            self._write("</sheetData>")
            if self._filtered:
                self._filters[self._sheets] = f"$A$1:${self._filtered}${self._rows}"
                area = self._filters[self._sheets].replace("$", "")
                self._write(f'<autoFilter ref="{area}"/>')
            self._write("</worksheet>")
            self._end_part()

    def _write_rest(self) -> None:
        """Write the parts that list the sheets."""
        numbers = range(1, self._sheets + 1)
        titles = self._titles()
        sheets = "".join(
            f'<sheet name={quoteattr(title)} sheetId="{n}" r:id="rId{n}"/>'
            for n, title in zip(numbers, titles, strict=True)
        )
        to_sheets = [(f"{_OFFICE}/worksheet", f"worksheets/sheet{n}.xml") for n in numbers]
        kinds = {f"/xl/worksheets/sheet{n}.xml": f"{_KINDS}.worksheet+xml" for n in numbers}
        kinds |= {
            "/xl/workbook.xml": f"{_KINDS}.sheet.main+xml",
            "/xl/styles.xml": f"{_KINDS}.styles+xml",
            "/docProps/core.xml": "application/vnd.openxmlformats-package.core-properties+xml",
        }
        parts = {
            "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}">'
            f"<bookViews><workbookView/></bookViews><sheets>{sheets}</sheets>"
            f"{self._defined_names(titles)}</workbook>",
            "xl/styles.xml": _STYLES,
            "xl/_rels/workbook.xml.rels": _relations(
                [*to_sheets, (f"{_OFFICE}/styles", "styles.xml")]
            ),
            "docProps/core.xml": self._core_properties(),
            "_rels/.rels": _relations(
                [
                    (f"{_OFFICE}/officeDocument", "xl/workbook.xml"),
                    (f"{_PACKAGE}/relationships/metadata/core-properties", "docProps/core.xml"),
                ]
            ),
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
        self._write_parts(parts)

    def _titles(self) -> list[str]:
        """Return the names of the sheets."""
        if self._sheets == 1:
            return [sheet_title(self._title)]
        return [
            sheet_title(
                self._title,
                " " + _("(%(number)s of %(total)s)") % {"number": number, "total": self._sheets},
            )
            for number in range(1, self._sheets + 1)
        ]

    def _defined_names(self, titles: list[str]) -> str:
        """Return the names that spreadsheets give to cells with a filter."""
        names = "".join(
            f'<definedName name="_xlnm._FilterDatabase" localSheetId="{number - 1}" hidden="1">'
            f"{escape(quoted_title(titles[number - 1]))}!{area}</definedName>"
            for number, area in self._filters.items()
        )
        return f"<definedNames>{names}</definedNames>" if names else ""

    def _core_properties(self) -> str:
        """Return the properties of the document, without a time: see ``XmlPackage``."""
        title, creator = self._properties()
        return (
            f'<cp:coreProperties xmlns:cp="{_PACKAGE}/metadata/core-properties"'
            f' xmlns:dc="http://purl.org/dc/elements/1.1/">'
            f"<dc:title>{title}</dc:title><dc:creator>{creator}</dc:creator></cp:coreProperties>"
        )


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
