"""What a format is, and what a writer of one is told."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import IO, Any

from django.core.exceptions import ImproperlyConfigured

__all__ = ["Format", "Options", "Rows", "Writer"]


@dataclass(frozen=True, slots=True)
class Options:
    """What a writer is told besides the rows; later versions may tell more.

    Attributes:
        name: The name of the file, or of the member of an archive.
        header: A row before the others that does not count as one; None for none.
        encoding: Of the text, where the format is one of text.
        escape_formulas: Whether text that a spreadsheet would take for a formula
            must get an apostrophe in front.
    """

    name: str = ""
    header: Sequence[Any] | None = None
    encoding: str = "utf-8"
    escape_formulas: bool = False


#: Writes rows to a binary stream, and returns how many they were, without the header.
#: The rows are an iterable of lists and tuples of cells, as the site has made those, to be
#: consumed once and not to be held. The stream may not be able to seek, and is left open.
Writer = Callable[[Iterable[Iterable[Any]], IO[bytes], Options], int]


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file that rows can be written to.

    Attributes:
        name: What ``format=`` calls it.
        extensions: With their dots, in lower case. The first is given to files that
            have another one. The formats that share one are told apart by ``format=``;
            by the file name it is the one that was registered first.
        content_type: What it is served as.
        write: Writes the rows.
        requires: The module that the writer imports; empty for none.
        install: What to install for it with pip; the same name if left out.
    """

    name: str
    extensions: tuple[str, ...]
    content_type: str
    write: Writer
    requires: str = ""
    install: str = ""

    def __post_init__(self) -> None:
        """Refuse what no file name could lead to.

        Raises:
            ValueError: An extension has no dot or is not in lower case, there is
                none, or the name is empty or that of a compressed format.
        """
        wrong = [text for text in self.extensions if text[:1] != "." or text != text.lower()]
        if wrong or not self.extensions:
            raise ValueError(
                f"extensions={self.extensions!r} of format {self.name!r} must be such as ('.csv',)."
            )
        if not self.name:
            raise ValueError("A format must have a name.")

    def require(self) -> None:
        """See that what the writer imports is there.

        Raises:
            ImproperlyConfigured: It is not installed.
        """
        if self.requires and find_spec(self.requires) is None:
            raise ImproperlyConfigured(
                f"The format {self.name!r} needs {self.requires}, which is not installed. "
                f'Install it with: pip install "{self.install or self.requires}".'
            )


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows for a member of an archive, where they need more than themselves.

    Attributes:
        rows: Any iterable of rows, each an iterable of cells or a mapping; consumed once.
        header: A row before the others that does not count as one.
        encoding: Of the text; that of the archive if left out.
    """

    rows: Iterable[Iterable[Any]]
    header: Iterable[Any] | None = None
    encoding: str | None = None
