"""Text to a binary stream."""

import gc
import io
from typing import Any

import pytest

from async_downloads.formats.text import detach, text_layer
from tests.formats.streams import OneWay


@pytest.mark.parametrize("kind", [io.BytesIO, OneWay])
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "UTF16", "utf-16", "utf-16-le", "utf-32", "latin-1"]
)
def test_a_byte_order_mark_is_written_once_on_every_stream(kind: Any, encoding: str) -> None:
    stream = kind()
    layer = text_layer(stream, encoding)
    for _ in range(3):
        layer.write("ä" * 10_000)
        layer.flush()
    layer.detach()
    assert stream.getvalue() == ("ä" * 30_000).encode(encoding)


def test_line_ends_are_written_unchanged() -> None:
    stream = io.BytesIO()
    layer = text_layer(stream, "utf-8")
    layer.write("a\nb\r\n")
    layer.detach()
    assert stream.getvalue() == b"a\nb\r\n"


class Refusing(io.BytesIO):
    """A stream that refuses each byte."""

    def write(self, data: Any) -> int:
        raise OSError("no room")


def test_text_that_a_stream_refused_is_not_written_again() -> None:
    refused = Refusing()
    layer = text_layer(refused, "utf-8")
    layer.write("left over")
    with pytest.raises(OSError, match="no room"):
        detach(layer)
    # An error during garbage collection would be a warning, and warnings are errors.
    del layer
    gc.collect()
