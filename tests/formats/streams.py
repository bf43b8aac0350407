"""Streams that a file may meet: one that cannot seek, and one that is soon full."""

import errno
import io
from collections.abc import Callable
from typing import Any

__all__ = ["FullStream", "OneWay", "no_space"]


class OneWay(io.BytesIO):
    """A stream that is not seekable, such as a member of an archive."""

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        raise io.UnsupportedOperation


class FullStream(io.BytesIO):
    """A stream that has room for so many bytes, and then raises an error."""

    def __init__(self, room: int, make_error: Callable[[], Exception]):
        super().__init__()
        self._room, self._make_error = room, make_error

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self._room:
            raise self._make_error()
        return super().write(data)


def no_space() -> OSError:
    """Return the error of a disk that is full."""
    return OSError(errno.ENOSPC, "No space left on device")
