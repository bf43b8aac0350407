"""The parts of an ODS file."""

import io
import zipfile
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from xml.etree import ElementTree

import pytest

from async_downloads.exceptions import DownloadError
from async_downloads.formats import Options, ods, opendocument, xml_packages
from async_downloads.formats.opendocument import CONTENT_TYPE, Document


def parts_of(rows: Any, **options: Any) -> dict[str, str]:
    stream = io.BytesIO()
    ods.write(rows, stream, Options(**options))
    with zipfile.ZipFile(stream) as found:
        assert found.testzip() is None
        return {name: found.read(name).decode() for name in found.namelist()}


def test_the_type_of_the_file_comes_first_and_is_not_compressed() -> None:
    stream = io.BytesIO()
    ods.write([[1]], stream, Options())
    assert stream.getvalue()[30:].startswith(f"mimetype{CONTENT_TYPE}".encode())


def test_each_part_is_xml_and_in_the_manifest() -> None:
    parts = parts_of([[1, "a\nb", None]], header=["a", "b", "c"], title="Orders", creator="Ada")
    assert parts.pop("mimetype") == CONTENT_TYPE
    for text in parts.values():
        ElementTree.fromstring(text)  # noqa: S314 (our own)
    manifest = parts.pop("META-INF/manifest.xml")
    assert all(f'full-path="{name}"' in manifest for name in parts)
    assert "<dc:title>Orders</dc:title>" in parts["meta.xml"]
    assert "<dc:creator>Ada</dc:creator>" in parts["meta.xml"]


def test_a_header_is_bold_stays_visible_and_has_filters() -> None:
    parts = parts_of([[1, 2]], header=["a", "b"], title="Ada's")
    assert parts["content.xml"].count('table:style-name="bold"') == 2
    assert "'Ada''s'.A1:'Ada''s'.B2" in parts["content.xml"]
    assert '"VerticalSplitPosition" config:type="int">1<' in parts["settings.xml"]
    parts = parts_of([[1, 2]])
    assert "database-range" not in parts["content.xml"]
    assert "VerticalSplit" not in parts["settings.xml"]


def test_values_are_shown_with_their_places_and_lines() -> None:
    late = datetime(2026, 1, 31, 23, 59, 59, 999_000, tzinfo=UTC)
    content = parts_of([[Decimal("6.30"), "a\nb", late]])["content.xml"]
    assert 'table:style-name="decimal2" office:value-type="float" office:value="6.3"' in content
    assert 'table:style-name="wrapped"' in content
    # A spreadsheet that rounds to seconds would show the next day.
    assert 'table:style-name="datetime-exact"' in content
    for name in ("decimal2", "wrapped", "datetime-exact", "bold"):
        assert f'style:name="{name}"' in content


def test_each_width_is_defined() -> None:
    content = parts_of([["a" * 20, 1, "a" * 400]])["content.xml"]
    for name in ("column21", f"column{opendocument.MAX_WIDTH}"):
        assert f'<table:table-column table:style-name="{name}"/>' in content
        assert f'style:name="{name}" style:family="table-column"' in content


def test_a_file_that_spreadsheets_cannot_read_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opendocument, "MAX_SIZE", 100_000)
    with pytest.raises(DownloadError, match="too many rows for this format"):
        parts_of([["a" * 1000]] * 300)
    # No part may need ZIP64 either.
    assert xml_packages.PIECE_SIZE * 4 + 100_000 < zipfile.ZIP64_LIMIT


def test_a_failure_ends_the_file_and_leaves_the_stream_open() -> None:
    stream = io.BytesIO()
    with pytest.raises(ZeroDivisionError), Document(stream, "Orders") as document:
        document.begin_sheet({}, filtered=0)
        raise ZeroDivisionError
    assert not stream.closed
    with zipfile.ZipFile(stream) as found:
        assert "META-INF/manifest.xml" not in found.namelist()
