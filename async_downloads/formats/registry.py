"""The known formats, by file name and by ``format=``."""

import mimetypes
import unicodedata
from dataclasses import replace
from typing import Final

from async_downloads.files.names import with_stored_end
from async_downloads.formats import compressed, csv, jsonl, ods, parquet, xlsx, zipped
from async_downloads.formats.base import Format

__all__ = [
    "CSV",
    "ZIP",
    "content_type_of",
    "for_filename",
    "installed",
    "meant_by",
    "named",
    "register",
    "split",
    "with_extension",
]

#: Appended to the name and the extensions of a format that is compressed.
GZIP: Final = compressed.EXTENSION

CSV: Final = Format("csv", (".csv",), "text/csv", csv.write_csv)

ZIP: Final = Format(
    "zip",
    (".zip",),
    "application/zip",
    # Rows make an archive with one member, whose format is that of the name without ".zip".
    lambda rows, stream, options: zipped.write(rows, stream, options, for_filename),
)

#: Formats by name, in the order in which they were registered.
_formats: Final[dict[str, Format]] = {}


def register(added: Format) -> None:
    """Add a format, or replace the one of the same name.

    Call it in the ``ready()`` of an app, so that each process knows the format.

    Args:
        added: The format.

    Raises:
        ValueError: Its name or an extension ends with ``.gz``, which means compressed.
    """
    taken = [text for text in (added.name, *added.extensions) if text.endswith(GZIP)]
    if taken:
        raise ValueError(f"{taken[0]!r} ends with {GZIP!r}, which means a compressed format.")
    _formats[added.name] = added


def named(name: str) -> Format:
    """Return the format that ``format=`` names; with ``.gz`` appended, compressed.

    Raises:
        ImproperlyConfigured: It needs a package that is not installed.
        ValueError: The name is unknown.
    """
    plain = name.removesuffix(GZIP)
    if plain not in _formats:
        raise ValueError(
            f"The format {name!r} is unknown. It must be one of {', '.join(_formats)}, "
            f"or one of them with {GZIP!r} appended."
        )
    chosen = _formats[plain]
    chosen.require()
    return chosen if plain == name else _compressed(chosen)


def installed() -> list[Format]:
    """Return the formats whose packages are installed, in the order of their registration."""
    return [each for each in _formats.values() if each.is_installed]


def for_filename(filename: str) -> Format:
    """Return the format that the extension of a file name means; CSV if it means none.

    The name is sanitised first: ``orders.xlsx.`` and ``orders.xlsx?`` are workbooks.

    Raises:
        ImproperlyConfigured: It needs a package that is not installed.
    """
    stored = with_stored_end(filename)
    plain = _without_gzip(stored)
    chosen = _by_extension(plain)[0] or CSV
    chosen.require()
    return chosen if plain == stored else _compressed(chosen)


def meant_by(filename: str) -> str:
    """Return the extension of a format that a file name seems to misspell.

    A misspelling has two letters in the wrong order, one twice, one missing, or characters
    that look like the right ones. An extension with a media type of its own, such as
    ``.xls``, is not a misspelling.

    Returns:
        The right extension; empty if the name means a format, or is not like any.
    """
    plain = _without_gzip(with_stored_end(filename))
    if plain.lower().endswith(ZIP.extensions):
        # The rest is the name of the member that the rows become.
        plain = split(plain)[0]
    _, dot, ending = _skeleton(plain).rpartition(".")
    its_own = plain.rpartition(".")[2]
    if not dot or _by_extension(plain)[0] or mimetypes.guess_type(f"file.{its_own}")[0]:
        return ""
    known = [extension for each in _formats.values() for extension in each.extensions]
    for extension in [*known, GZIP]:
        right = extension.rpartition(".")[2]
        if ending in _misspellings(right) or _looks_like(ending, right):
            return extension
    return ""


def content_type_of(filename: str) -> str | None:
    """Return the media type of a file by its name; None if its extension means no format."""
    stored = with_stored_end(filename)
    plain = _without_gzip(stored)
    if plain != stored:
        return compressed.CONTENT_TYPE
    chosen = _by_extension(plain)[0]
    return chosen.content_type if chosen else None


def split(filename: str) -> tuple[str, str]:
    """Split a file name into stem and extension.

    An extension is one that means a format, with or without ``.gz``. The name is
    sanitised if it means a format only then.
    """
    for name in (filename, with_stored_end(filename)):
        plain = _without_gzip(name)
        end = len(plain) - len(_by_extension(plain)[1])
        if end < len(name):
            return name[:end], name[end:]
    return filename, ""


def with_extension(filename: str, wanted: Format) -> str:
    """Return a file name with the extension of a format, which replaces that of another format."""
    if with_stored_end(filename).lower().endswith(wanted.extensions):
        return filename
    return split(filename)[0] + wanted.extensions[0]


def _compressed(plain: Format) -> Format:
    return replace(
        plain,
        name=plain.name + GZIP,
        extensions=tuple(extension + GZIP for extension in plain.extensions),
        content_type=compressed.CONTENT_TYPE,
        write=compressed.compressing(plain.write),
    )


def _skeleton(text: str) -> str:
    """Return the letters, digits and punctuation of a text, without case, width and accents."""
    wide = unicodedata.normalize("NFKD", text).casefold()
    return "".join(each for each in wide if unicodedata.category(each)[0] in "LNP")


def _misspellings(word: str) -> set[str]:
    """Return common misspellings of a word, and the word itself."""
    places = range(len(word))
    swapped = {word[:at] + word[at : at + 2][::-1] + word[at + 2 :] for at in places}
    twice = {word[: at + 1] + word[at:] for at in places}
    missing = {word[:at] + word[at + 1 :] for at in places if len(word) > 3}
    return swapped | twice | missing


def _looks_like(ending: str, right: str) -> bool:
    """Return whether letters of other alphabets stand for some of a word's."""
    pairs = list(zip(ending, right, strict=False))
    return (
        len(ending) == len(right)
        and any(one.isascii() for one in ending)
        and all(one == other or not one.isascii() for one, other in pairs)
    )


def _without_gzip(filename: str) -> str:
    return filename[: -len(GZIP)] if filename.lower().endswith(GZIP) else filename


def _by_extension(filename: str) -> tuple[Format | None, str]:
    """Return the first format with the longest extension that a file name ends with."""
    lowered = filename.lower()
    best: tuple[Format | None, str] = (None, "")
    for candidate in _formats.values():
        for extension in candidate.extensions:
            if lowered.endswith(extension) and len(extension) > len(best[1]):
                best = (candidate, extension)
    return best


for each in (
    CSV,
    Format("tsv", (".tsv", ".tab"), "text/tab-separated-values", csv.write_tsv),
    Format("csv-excel", (".csv",), "text/csv", csv.write_for_excel),
    Format("jsonl", (".jsonl", ".ndjson"), "application/jsonl", jsonl.write),
    Format(
        "xlsx",
        (".xlsx",),
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        xlsx.write,
    ),
    Format("ods", (".ods",), "application/vnd.oasis.opendocument.spreadsheet", ods.write),
    Format(
        "parquet",
        (".parquet",),
        "application/vnd.apache.parquet",
        parquet.write,
        requires="pyarrow",
        install="django-async-downloads[parquet]",
    ),
    ZIP,
):
    register(each)
