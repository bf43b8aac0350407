"""The class of a format, and the options of its writer."""

from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from importlib.util import find_spec
from typing import IO, Any

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Field

__all__ = ["Column", "Format", "Options", "Rows", "Writer"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a queryset's rows.

    Attributes:
        name: The name by which the queryset selects it.
        field: The model field that describes its values; None if that is not certain.
    """

    name: str
    field: "Field[Any, Any] | None" = None


@dataclass(frozen=True, slots=True)
class Options:
    """A writer's options besides the rows; later versions may add some.

    Attributes:
        name: The name of the file, or of the member of an archive.
        header: A row before the others, which is not counted; None for none.
        encoding: The encoding, if the format is a text format.
        escape_formulas: Whether text that a spreadsheet would take for a formula
            must get an apostrophe in front.
        title: The name of the export, for a document that can have one.
        creator: The name of the owner, likewise.
        columns: The columns of the rows, if a queryset selects them; otherwise empty.
        time_zone: The time zone in which times are shown, which those of the rows are in
            already; None for that of the format.
        localize: Whether text shows numbers and dates as the active language does.
    """

    name: str = ""
    header: Sequence[Any] | None = None
    encoding: str = "utf-8"
    escape_formulas: bool = False
    title: str = ""
    creator: str = ""
    columns: Sequence[Column] = ()
    time_zone: tzinfo | None = None
    localize: bool = False


#: Writes rows to a binary stream, and returns their number without the header.
#: The rows are an iterable of lists and tuples of cells, as the site has made them. A writer
#: consumes it once and keeps no rows. The stream may not be seekable, and is left open.
Writer = Callable[[Iterable[Iterable[Any]], IO[bytes], Options], int]


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file that rows can be written to.

    Attributes:
        name: The value of ``format=``.
        extensions: With their dots, in lower case. A file with another extension gets the
            first one. If several formats have the same extension, a file name with it
            means the one that was registered first, and ``format=`` means any.
        content_type: The media type of the file.
        write: Writes the rows.
        requires: The module that the writer imports; empty for none.
        install: The package to install with pip for it; the same name if left out.
    """

    name: str
    extensions: tuple[str, ...]
    content_type: str
    write: Writer
    requires: str = ""
    install: str = ""

    def __post_init__(self) -> None:
        """Check the name and the extensions.

        Raises:
            ValueError: An extension has no dot or is not in lower case, there are no
                extensions, or the name is empty.
        """
        wrong = [text for text in self.extensions if text[:1] != "." or text != text.lower()]
        if wrong or not self.extensions:
            raise ValueError(
                f"extensions={self.extensions!r} of format {self.name!r} must be a tuple of "
                "extensions in lower case with their dots, such as ('.csv',)."
            )
        if not self.name:
            raise ValueError("A format must have a name.")

    @property
    def is_installed(self) -> bool:
        """Whether the module that the writer imports is installed."""
        return not self.requires or find_spec(self.requires) is not None

    def require(self) -> None:
        """Check that the writer's module is installed.

        Raises:
            ImproperlyConfigured: It is not.
        """
        if not self.is_installed:
            raise ImproperlyConfigured(
                f"The format {self.name!r} needs {self.requires}, which is not installed. "
                f'Install it with: pip install "{self.install or self.requires}".'
            )


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows for a member of an archive, with a header or an encoding.

    Attributes:
        rows: Any iterable or async iterable of rows, each an iterable of cells or a mapping;
            consumed once.
        header: As for ``save_download``.
        encoding: The encoding of the member; that of the archive if left out.
        labels: As for ``save_download``.
    """

    rows: Iterable[Iterable[Any]] | AsyncIterable[Iterable[Any]]
    header: Iterable[Any] | None = None
    encoding: str | None = None
    labels: bool = False
