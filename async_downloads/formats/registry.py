"""Which formats there are, and which of them a file name or ``format=`` means."""

from dataclasses import replace
from typing import Final

from async_downloads.formats import compressed, csv, jsonl, xlsx, zipped
from async_downloads.formats.base import Format

__all__ = [
    "CSV",
    "ZIP",
    "content_type_of",
    "for_filename",
    "named",
    "register",
    "split",
    "with_extension",
]

#: What is appended to the name of a format, and to its extensions, for it compressed.
GZIP: Final = compressed.EXTENSION

CSV: Final = Format("csv", (".csv",), "text/csv", csv.write_csv)

ZIP: Final = Format(
    "zip",
    (".zip",),
    "application/zip",
    # Rows alone make an archive of one member, as its name without ".zip" has it.
    lambda rows, stream, options: zipped.write(rows, stream, options, for_filename),
)

#: By name, in the order in which they were registered.
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
    """Return the format that ``format=`` names; with ``.gz`` behind it, compressed.

    Raises:
        ImproperlyConfigured: What it needs is not installed.
        ValueError: There is none of this name.
    """
    plain = name.removesuffix(GZIP)
    if plain not in _formats:
        raise ValueError(
            f"There is no format {name!r}. It must be one of {', '.join(_formats)}, "
            f"or one of them with {GZIP!r} behind it."
        )
    found = _formats[plain]
    found.require()
    return found if plain == name else _compressed(found)


def for_filename(filename: str) -> Format:
    """Return the format that the extension of a file name means; CSV if it means none.

    Raises:
        ImproperlyConfigured: What it needs is not installed.
    """
    plain = _without_gzip(filename)
    found = _by_extension(plain)[0] or CSV
    found.require()
    return found if plain == filename else _compressed(found)


def content_type_of(filename: str) -> str | None:
    """Return what a file of this name is served as; None if its extension means no format."""
    plain = _without_gzip(filename)
    found = _by_extension(plain)[0]
    if plain != filename:
        return compressed.CONTENT_TYPE
    return found.content_type if found else None


def split(filename: str) -> tuple[str, str]:
    """Return a file name in two: without its extension, and the extension.

    An extension is one that means a format, with or without ``.gz`` behind it.
    """
    plain = _without_gzip(filename)
    end = len(plain) - len(_by_extension(plain)[1])
    return filename[:end], filename[end:]


def with_extension(filename: str, wanted: Format) -> str:
    """Return a file name with the extension of a format, in the place of one that means another."""
    if filename.lower().endswith(wanted.extensions):
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
    ZIP,
):
    register(each)
