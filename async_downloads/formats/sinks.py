"""A stream for libraries that close the file that they write to."""

import io
from typing import IO, Any

__all__ = ["Sink"]


class Sink(io.RawIOBase):
    """Passes bytes on to a stream until that has failed once.

    After a failure, a library may still write the end of its file. Those bytes are
    dropped, so that the failure is not hidden by another one.
    """

    def __init__(self, stream: IO[bytes], *, seekable: bool | None = None):
        """Wrap a stream.

        Args:
            stream: Receives the bytes; it is left open.
            seekable: Whether the sink can seek; the same as the stream if left out.
        """
        super().__init__()
        self._stream = stream
        self._seekable = stream.seekable() if seekable is None else seekable
        self._position = 0
        self.failure: BaseException | None = None

    def writable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return whether the sink can seek."""
        return self._seekable

    def write(self, data: Any) -> int:
        """Write all of the bytes.

        Raises:
            Exception: The stream raised it, for the first time.
        """
        if self.failure is None:
            try:
                self._stream.write(data)
            except BaseException as error:
                self.failure = error
                raise
        return len(data)

    def flush(self) -> None:
        """Do nothing: the sink has no buffer, and may be closed before its writer."""

    def tell(self) -> int:
        """Return the position; after a failure, the last one that was returned.

        ``zipfile`` computes sizes from positions, and fails if one is before an earlier one.

        Raises:
            UnsupportedOperation: The sink cannot seek.
        """
        self._must_be_seekable()
        if self.failure is None:
            self._position = self._stream.tell()
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position.

        Raises:
            UnsupportedOperation: The sink cannot seek.
        """
        self._must_be_seekable()
        return 0 if self.failure else self._stream.seek(offset, whence)

    def _must_be_seekable(self) -> None:
        if not self._seekable:
            raise io.UnsupportedOperation("seek")
