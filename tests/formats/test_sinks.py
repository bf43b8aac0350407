"""A stream that accepts writes after a failure."""

import io

import pytest

from async_downloads.formats.sinks import Sink


class Failing(io.BytesIO):
    """Takes four bytes."""

    def write(self, data: object) -> int:
        if self.tell() >= 4:
            raise OSError(28, "No space left on device")
        return super().write(data)  # type: ignore[arg-type]


def test_a_sink_fails_once_and_then_drops_bytes() -> None:
    stream = Failing()
    sink = Sink(stream)
    sink.write(b"abcd")
    assert sink.tell() == 4
    with pytest.raises(OSError, match="No space left") as raised:
        sink.write(b"e")
    assert sink.failure is raised.value
    assert sink.write(b"end") == 3
    assert (sink.tell(), sink.seek(0)) == (4, 0)
    assert stream.getvalue() == b"abcd"


def test_closing_it_leaves_the_stream_open() -> None:
    stream = io.BytesIO()
    with Sink(stream) as sink:
        sink.write(b"a")
    assert sink.closed
    assert not stream.closed


def test_a_sink_seeks_as_its_stream_unless_disabled() -> None:
    sink = Sink(io.BytesIO())
    sink.write(b"abc")
    assert (sink.seekable(), sink.tell(), sink.seek(1)) == (True, 3, 1)
    sink = Sink(io.BytesIO(), seekable=False)
    assert not sink.seekable()
    for call in (sink.tell, lambda: sink.seek(0)):
        with pytest.raises(io.UnsupportedOperation):
            call()


def test_a_sink_may_be_closed_before_its_writer() -> None:
    sink = Sink(Failing())
    sink.close()
    sink.flush()
