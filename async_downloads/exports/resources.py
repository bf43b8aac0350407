"""Exports of the Resources of django-import-export, which only this module imports."""

import inspect
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import IO, Any, Final

from django.conf import settings as project_settings
from django.core.exceptions import ImproperlyConfigured
from django.db.models import QuerySet
from django.utils import timezone

from async_downloads import store
from async_downloads.building.content import CHUNK_SIZE, Table, save
from async_downloads.formats import Format, registry

__all__ = ["ResourceExport", "export_resource", "headings", "resource_from"]

#: Formats whose cells are text, for which a Resource prints its values itself.
TEXT_FORMATS: Final = frozenset({"csv", "csv-excel", "tsv", "zip"})


def export_resource(
    download_key: str,
    resource: Any,
    queryset: "Iterable[Any] | None" = None,
    *,
    format: str | None = None,  # noqa: A002 (the word for it)
) -> None:
    """Save the export of a Resource of django-import-export as a file.

    It is written row by row, with progress, and never held in memory. Only a
    Resource that overrides ``export`` or ``after_export``, which get the whole
    table, makes the whole table first.

    CSV has the texts of the Resource. A format with types, such as XLSX or JSON Lines, gets
    numbers, dates and booleans.

    Args:
        download_key: The key that ``init_download`` returned.
        resource: A Resource, or the class of one that needs no arguments.
        queryset: The objects; those of the Resource if left out.
        format: As for ``save_download``; if left out, the file name decides.

    Raises:
        DownloadCancelled: The download was cleared, or taken over by another attempt.
        ImproperlyConfigured: django-import-export, or what the format needs, is not installed.
        TypeError: ``resource`` is not a Resource.
        ValueError: The format is unknown.
    """
    chosen = None if format is None else registry.named(format)
    save(download_key, ResourceExport(resource_from(resource), queryset, format=chosen))


def resource_from(resource: Any, **kwargs: Any) -> Any:
    """Return a Resource.

    Args:
        resource: A Resource, or the class of one.
        **kwargs: Arguments for the class.

    Raises:
        ImproperlyConfigured: django-import-export is not installed.
        TypeError: It is neither.
    """
    base = _base()
    if inspect.isclass(resource) and issubclass(resource, base):
        return resource(**kwargs)
    if isinstance(resource, base):
        return resource
    raise TypeError(
        f"{resource!r} is neither a Resource of django-import-export nor a class of one."
    )


def _base() -> Any:
    try:
        from import_export.resources import Resource
    except ImportError as error:
        raise ImproperlyConfigured(
            "Exports of Resources need django-import-export: "
            'pip install "django-async-downloads[import-export]".'
        ) from error
    return Resource


def _streams(resource: Any) -> bool:
    """Return whether the rows can be made one by one, with the same result."""
    kind, base = type(resource), _base()
    return kind.export is base.export and kind.after_export is base.after_export


def headings(resource: Any) -> dict[str, str]:
    """Return the headings of a Resource by the names of its fields, in its order."""
    labels: dict[str, str] = {}
    for name in resource.get_export_order():
        for label in resource.get_export_headers(selected_fields=[name]):
            labels[name] = label
    return labels


@dataclass(frozen=True, slots=True)
class ResourceExport:
    """The export of a Resource, which is first called once the download is claimed.

    Attributes:
        resource: The Resource.
        objects: The objects; None for those of the Resource.
        columns: The names of its fields, in their order; None for all.
        format: The format; None for the one that the file name means.
        encoding: The encoding of text.
    """

    resource: Any
    objects: Iterable[Any] | None
    columns: list[str] | None = None
    format: Format | None = None
    encoding: str = "utf-8"

    def name_for(self, requested: str) -> str:
        """Return the requested name, with the extension of the format if there is one."""
        return registry.with_extension(requested, self.format) if self.format else requested

    def write(self, attempt: store.Attempt, stream: IO[bytes]) -> None:
        """Write the rows of the export."""
        chosen = self.format or registry.for_filename(attempt.output.filename)
        typed = chosen.name.removesuffix(registry.GZIP) not in TEXT_FORMATS
        make = self._streamed if _streams(self.resource) else self._made_by_resource
        make(typed).write(attempt, stream)

    def close(self) -> None:
        """Close a generator of objects."""
        if isinstance(self.objects, Generator):
            self.objects.close()

    @property
    def _counts(self) -> bool:
        return self.objects is None or isinstance(self.objects, QuerySet)

    def _streamed(self, typed: bool) -> Table:
        """Return a table that makes a row of each object, as ``Resource.export`` does."""
        resource = self.resource
        resource.before_export(self.objects)
        objects = resource.filter_export(
            resource.get_queryset() if self.objects is None else self.objects
        )
        total = None
        if self._counts:
            if not isinstance(objects, QuerySet):
                # ``filter_export`` may return any iterable.
                objects = list(objects)
            total = objects.count() if isinstance(objects, QuerySet) else len(objects)
        make_row = partial(resource.export_resource, **self._arguments("selected_fields", typed))
        header = resource.get_export_headers(**self._arguments("selected_fields", False))
        return self._table(_iterate(resource, objects), header, total, make_row, typed)

    def _made_by_resource(self, typed: bool) -> Table:
        """Return the table that the Resource makes in its own way."""
        dataset = self.resource.export(
            queryset=self.objects, **self._arguments("export_fields", typed)
        )
        total = len(dataset) if self._counts else None
        return self._table(iter(dataset), dataset.headers, total, list, typed)

    def _arguments(self, name: str, typed: bool) -> dict[str, Any]:
        """Return the arguments for a method; none if possible, as a site's own may take none."""
        chosen = {} if self.columns is None else {name: self.columns}
        return {**chosen, "force_native_type": True} if typed else chosen

    def _table(
        self,
        rows: Iterable[Any],
        header: Sequence[Any],
        total: int | None,
        make_row: Callable[[Any], Sequence[Any]],
        typed: bool,
    ) -> Table:
        """Return a table with the columns in the chosen order, and cells for the format."""
        places = self._places(header)
        convert = _typed if typed else _identity

        def ordered(item: Any) -> list[Any]:
            row = make_row(item)
            return [convert(row[place]) for place in places]

        return Table(
            rows,
            encoding=self.encoding,
            header=[header[place] for place in places],
            expected=total,
            format=self.format,
            row_function=ordered,
        )

    def _places(self, header: Sequence[Any]) -> list[int]:
        """Return where the columns are in a table of the Resource, which has its own order.

        A Resource that makes the table may add columns, which come last, and leave out others.

        Args:
            header: The header of the table.
        """
        if self.columns is None:
            return list(range(len(header)))
        labels = headings(self.resource)
        own = [name for name in labels if name in self.columns]
        if list(header) == [labels[name] for name in own] or _streams(self.resource):
            return [own.index(name) for name in self.columns]
        found = {label: place for place, label in reversed(list(enumerate(header)))}
        chosen = [found[labels[name]] for name in self.columns if labels[name] in found]
        known = set(labels.values())
        return chosen + [place for place, label in enumerate(header) if label not in known]


def _typed(cell: Any) -> Any:
    """Return a cell of one type: the library prints nothing as an empty text.

    It also takes their zone from times, which is that of the page.
    """
    if cell == "":
        return None
    naive = isinstance(cell, datetime) and project_settings.USE_TZ and timezone.is_naive(cell)
    return timezone.make_aware(cell) if naive else cell


def _identity(cell: Any) -> Any:
    return cell


def _iterate(resource: Any, objects: Any) -> Iterable[Any]:
    overridden = type(resource).iter_queryset is not _base().iter_queryset
    if overridden or not isinstance(objects, QuerySet):
        iterable: Iterable[Any] = resource.iter_queryset(objects)
        return iterable
    # With prefetches, the library would read page by page, and each page from the beginning.
    return objects.iterator(chunk_size=resource.get_chunk_size() or CHUNK_SIZE)
