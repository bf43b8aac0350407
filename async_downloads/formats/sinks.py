"""What a library may write a file to that closes what it has opened."""

import io
from typing import IO, Any

__all__ = ["Sink"]


class Sink(io.RawIOBase):
    """Passes bytes on to a stream until that has failed once.

    A library that tidies up after the failure, by writing the end of its file,
    then writes to nowhere instead of failing again.
    """

    def __init__(self, stream: IO[bytes], *, seekable: bool | None = None):
        """Begin.

        Args:
            stream: Where the bytes go; it is left open.
            seekable: Whether what is written may be gone back to; as the stream
                says, if left out.
        """
        super().__init__()
        self._stream = stream
        self._seekable = stream.seekable() if seekable is None else seekable
        self.failure: BaseException | None = None

    def writable(self) -> bool:
        """Return that it can be written to."""
        return True

    def seekable(self) -> bool:
        """Return whether what is written can be gone back to."""
        return self._seekable

    def write(self, data: Any) -> int:
        """Write bytes, all of them.

        Raises:
            Exception: What the stream has raised, at its first failure.
        """
        if self.failure is None:
            try:
                self._stream.write(data)
            except BaseException as error:
                self.failure = error
                raise
        return len(data)

    def flush(self) -> None:
        """Do nothing: it holds nothing back, and may be closed before what writes to it."""

    def tell(self) -> int:
        """Return the position.

        Raises:
            UnsupportedOperation: It cannot be gone back.
        """
        self._must_be_seekable()
        return 0 if self.failure else self._stream.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position.

        Raises:
            UnsupportedOperation: It cannot be gone back.
        """
        self._must_be_seekable()
        return 0 if self.failure else self._stream.seek(offset, whence)

    def _must_be_seekable(self) -> None:
        if not self._seekable:
            raise io.UnsupportedOperation("seek")
