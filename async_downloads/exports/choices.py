"""What a person chooses before an export: columns, format, encoding and time zone."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from async_downloads.formats import registry

__all__ = ["EXCEL", "SITE", "UTC", "UTF_8", "Choices", "moved"]

#: Encodings: the one of most programs, and what Excel recognises.
UTF_8: Final = "utf-8"
EXCEL: Final = "excel"

#: Time zones: that of the site's pages, and UTC.
SITE: Final = "site"
UTC: Final = "utc"

#: Format and encoding of text that Excel recognises by its byte order mark.
FOR_EXCEL: Final = {
    ("csv", EXCEL): ("csv-excel", "utf-8"),
    ("tsv", EXCEL): ("tsv", "utf-8-sig"),
}


@dataclass(frozen=True, slots=True)
class Choices:
    """The choices for an export, in values that JSON and any queue can carry.

    They never name rows, so that they can be kept for other exports.

    Attributes:
        columns: The keys of the columns, in their order.
        format: The name of the format.
        encoding: ``UTF_8`` or ``EXCEL``; only for CSV and tab-separated values.
        time_zone: ``SITE`` or ``UTC``.
    """

    columns: list[str]
    format: str = registry.CSV.name
    encoding: str = UTF_8
    time_zone: str = SITE

    @classmethod
    def read(cls, values: dict[str, Any]) -> Self:
        """Return the choices of ``as_values``, of an earlier or later version as well."""
        return cls(**{name: value for name, value in values.items() if name in cls.__slots__})

    def as_values(self) -> dict[str, Any]:
        """Return a dictionary that JSON can carry."""
        return asdict(self)

    @property
    def writer(self) -> tuple[str, str]:
        """The name of the format that writes the file, and the encoding of its text."""
        return FOR_EXCEL.get((self.format, self.encoding), (self.format, "utf-8"))


def moved(order: Iterable[str], key: str, by: int) -> list[str]:
    """Return an order of keys in which one has moved by so many places, unless it is at the end."""
    keys = list(order)
    if key in keys:
        index = keys.index(key)
        keys.insert(max(0, index + by), keys.pop(index))
    return keys
