"""An ODS file, which is a ZIP file with XML parts, written as a stream.

All sheets are in one part, which goes to the stream as the rows come.
"""

import zipfile
from typing import IO, Final
from xml.sax.saxutils import quoteattr

from django.utils.translation import gettext as _

from async_downloads.exceptions import DownloadError
from async_downloads.formats.sheets import (
    MAX_PLACES,
    MAX_WIDTH,
    letters_of,
    quoted_title,
    sheet_title,
)
from async_downloads.formats.xml_packages import XmlPackage

__all__ = [
    "BOLD",
    "DATE",
    "DATETIME",
    "DECIMAL",
    "DURATION",
    "EXACT_DATETIME",
    "EXACT_TIME",
    "TIME",
    "WRAPPED",
    "Document",
]

CONTENT_TYPE: Final = "application/vnd.oasis.opendocument.spreadsheet"

#: The names of the styles of cells; the number of places follows the last one.
BOLD, WRAPPED, DATE, DURATION, DECIMAL = "bold", "wrapped", "date", "duration", "decimal"
DATETIME, EXACT_DATETIME, TIME, EXACT_TIME = "datetime", "datetime-exact", "time", "time-exact"

#: The part with the sheets may have so many bytes. Not all spreadsheets read larger ones.
MAX_SIZE: Final = (1 << 31) - (1 << 26)

#: Centimetres of a character, and of the margin of a column.
CHARACTER: Final = 0.2
MARGIN: Final = 0.15

_DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'

_NAMES: Final = "urn:oasis:names:tc:opendocument:xmlns:"

_SPACES: Final = "".join(
    f' xmlns:{prefix}="{_NAMES}{name}:1.0"'
    for prefix, name in {
        "office": "office",
        "table": "table",
        "text": "text",
        "style": "style",
        "number": "datastyle",
        "fo": "xsl-fo-compatible",
        "meta": "meta",
        "config": "config",
    }.items()
)

_DAY: Final = (
    '<number:year number:style="long"/><number:text>-</number:text>'
    '<number:month number:style="long"/><number:text>-</number:text>'
    '<number:day number:style="long"/>'
)

_CLOCK: Final = (
    '<number:hours number:style="long"/><number:text>:</number:text>'
    '<number:minutes number:style="long"/><number:text>:</number:text>'
    '<number:seconds number:style="long"/>'
)

_EXACT_CLOCK: Final = _CLOCK.replace("<number:seconds", '<number:seconds number:decimal-places="3"')


def _styles() -> str:
    """Return the styles of cells, columns and sheets."""
    shown = {
        DATETIME: ("date", "", f"{_DAY}<number:text> </number:text>{_CLOCK}"),
        EXACT_DATETIME: ("date", "", f"{_DAY}<number:text> </number:text>{_EXACT_CLOCK}"),
        DATE: ("date", "", _DAY),
        TIME: ("time", "", _CLOCK),
        EXACT_TIME: ("time", "", _EXACT_CLOCK),
        DURATION: ("time", ' number:truncate-on-overflow="false"', _CLOCK),
    } | {
        f"{DECIMAL}{places}": (
            "number",
            "",
            f'<number:number number:decimal-places="{places}"'
            f' number:min-decimal-places="{places}" number:min-integer-digits="1"/>',
        )
        for places in range(1, MAX_PLACES + 1)
    }
    formats = (
        f'<number:{kind}-style style:name="{name}-format"{options}>{parts}</number:{kind}-style>'
        f'<style:style style:name="{name}" style:family="table-cell"'
        f' style:data-style-name="{name}-format"/>'
        for name, (kind, options, parts) in shown.items()
    )
    columns = (
        f'<style:style style:name="{_column_style(width)}" style:family="table-column">'
        f'<style:table-column-properties style:column-width="{width * CHARACTER + MARGIN:.2f}cm"/>'
        "</style:style>"
        for width in range(1, MAX_WIDTH + 1)
    )
    return (
        "<office:automatic-styles>"
        f"{''.join(formats)}{''.join(columns)}"
        f'<style:style style:name="{BOLD}" style:family="table-cell">'
        '<style:text-properties fo:font-weight="bold"/></style:style>'
        f'<style:style style:name="{WRAPPED}" style:family="table-cell">'
        '<style:table-cell-properties fo:wrap-option="wrap" style:vertical-align="top"/>'
        "</style:style></office:automatic-styles>"
    )


class Document(XmlPackage):
    """Writes a spreadsheet document, all its sheets in one part."""

    declaration = _DECLARATION

    def __init__(self, stream: IO[bytes], title: str, creator: str = ""):
        super().__init__(stream, title, creator)
        self._titles: list[str] = []
        self._columns = 0
        #: The addresses of the cells with a filter.
        self._filters: list[str] = []
        kind = zipfile.ZipInfo("mimetype")
        # Other programs find it at a known place of the file.
        kind.compress_type = zipfile.ZIP_STORED
        self._file.writestr(kind, CONTENT_TYPE)
        self._begin_part("content.xml")
        self._write(
            f'<office:document-content{_SPACES} office:version="1.3">'
            f"{_styles()}<office:body><office:spreadsheet>"
        )

    def begin_sheet(self, widths: dict[int, int], *, filtered: int) -> None:
        """End the last sheet, if there is one, and begin the next.

        Args:
            widths: The widths, in characters, of columns without the usual width.
            filtered: The number of columns, if the first row is a header: it stays visible
                and has filters. Otherwise 0.
        """
        self._end_sheet()
        number = len(self._titles) + 1
        title = sheet_title(self._title, f" ({number})" if number > 1 else "")
        self._titles.append(title)
        self._rows, self._columns = 0, filtered
        self._write(f"<table:table table:name={quoteattr(title)}>")
        for column in range(max(widths, default=-1) + 1):
            style = (
                f' table:style-name="{_column_style(widths[column])}"' if column in widths else ""
            )
            self._write(f"<table:table-column{style}/>")

    def write_row(self, text: str) -> None:
        """Write a row of the sheet, as XML.

        Raises:
            DownloadError: The sheets are larger than spreadsheets can read.
        """
        super().write_row(text)
        if self._size >= MAX_SIZE:
            raise DownloadError(
                _(
                    "There are too many rows for this format. Please request fewer rows, or "
                    "another format."
                )
            )

    def _end(self) -> None:
        self._end_content()
        self._write_rest()

    def _end_sheet(self) -> None:
        if not self._titles:
            return
        if self._columns:
            title = quoted_title(self._titles[-1])
            last = f"{letters_of(self._columns)[-1]}{self._rows}"
            self._filters.append(f"{title}.A1:{title}.{last}")
        self._write("</table:table>")

    def _end_content(self) -> None:
        self._end_sheet()
        ranges = (
            f'<table:database-range table:name="__Anonymous_Sheet_DB__{number}"'
            f" table:target-range-address={quoteattr(area)}"
            ' table:display-filter-buttons="true"/>'
            for number, area in enumerate(self._filters)
        )
        if self._filters:
            self._write(f"<table:database-ranges>{''.join(ranges)}</table:database-ranges>")
        self._write("</office:spreadsheet></office:body></office:document-content>")
        self._end_part()

    def _write_rest(self) -> None:
        """Write the other parts, and the list of all."""
        title, creator = self._properties()
        meta = (
            f"<dc:title>{title}</dc:title>"
            f"<meta:initial-creator>{creator}</meta:initial-creator>"
            f"<dc:creator>{creator}</dc:creator>"
        )
        dc = ' xmlns:dc="http://purl.org/dc/elements/1.1/"'
        parts = {
            "meta.xml": f'<office:document-meta{_SPACES}{dc} office:version="1.3">'
            f"<office:meta>{meta}</office:meta></office:document-meta>",
            "settings.xml": f'<office:document-settings{_SPACES} office:version="1.3">'
            f"<office:settings>{self._views()}</office:settings></office:document-settings>",
        }
        names = ["content.xml", *parts]
        space = f"{_NAMES}manifest:1.0"
        parts["META-INF/manifest.xml"] = (
            f'<manifest:manifest xmlns:manifest="{space}" manifest:version="1.3">'
            f'<manifest:file-entry manifest:full-path="/" manifest:media-type="{CONTENT_TYPE}"/>'
            + "".join(
                f'<manifest:file-entry manifest:full-path="{name}" manifest:media-type="text/xml"/>'
                for name in names
            )
            + "</manifest:manifest>"
        )
        self._write_parts(parts)

    def _views(self) -> str:
        """Return the settings that keep headers visible."""
        if not self._filters:
            return ""
        frozen = _items(
            ("VerticalSplitMode", "short", 2),
            ("VerticalSplitPosition", "int", 1),
            ("ActiveSplitRange", "short", 2),
            ("PositionBottom", "int", 1),
        )
        tables = "".join(
            f"<config:config-item-map-entry config:name={quoteattr(title)}>{frozen}"
            "</config:config-item-map-entry>"
            for title in self._titles
        )
        return (
            '<config:config-item-set config:name="ooo:view-settings"'
            ' xmlns:ooo="http://openoffice.org/2004/office">'
            '<config:config-item-map-indexed config:name="Views"><config:config-item-map-entry>'
            f'<config:config-item-map-named config:name="Tables">{tables}'
            "</config:config-item-map-named></config:config-item-map-entry>"
            "</config:config-item-map-indexed></config:config-item-set>"
        )


def _items(*items: tuple[str, str, int]) -> str:
    return "".join(
        f'<config:config-item config:name="{name}" config:type="{kind}">{value}'
        "</config:config-item>"
        for name, kind, value in items
    )


def _column_style(width: int) -> str:
    return f"column{width}"
