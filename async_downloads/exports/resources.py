"""Exports of the Resources of django-import-export, which only this module imports."""

import inspect
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import IO, Any

from django.core.exceptions import ImproperlyConfigured
from django.db.models import QuerySet

from async_downloads import store
from async_downloads.building.content import CHUNK_SIZE, Table, save

__all__ = ["export_resource", "resource_from"]


def export_resource(
    download_key: str, resource: Any, queryset: "Iterable[Any] | None" = None
) -> None:
    """Save the export of a Resource of django-import-export as a CSV file.

    It is written row by row, with progress, and never held in memory. Only a
    Resource that overrides ``export`` or ``after_export``, which get the whole
    table, makes the whole table first.

    Args:
        download_key: The key that ``init_download`` returned.
        resource: A Resource, or the class of one that needs no arguments.
        queryset: The objects; those of the Resource if left out.

    Raises:
        DownloadCancelled: The download was cleared, or taken over by another attempt.
        ImproperlyConfigured: django-import-export is not installed.
        TypeError: ``resource`` is not a Resource.
    """
    save(download_key, _Export(resource_from(resource), queryset))


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


@dataclass(frozen=True, slots=True)
class _Export:
    """The export of a Resource, which is first called once the download is claimed.

    Attributes:
        resource: The Resource.
        objects: The objects; None for those of the Resource.
    """

    resource: Any
    objects: Iterable[Any] | None

    def name_for(self, requested: str) -> str:
        """Return the requested name."""
        return requested

    def write(self, attempt: store.Attempt, stream: IO[bytes]) -> None:
        """Write the rows of the export."""
        table = self._streamed() if _streams(self.resource) else self._made_by_resource()
        table.write(attempt, stream)

    def close(self) -> None:
        """Close a generator of objects."""
        if isinstance(self.objects, Generator):
            self.objects.close()

    @property
    def _counts(self) -> bool:
        return self.objects is None or isinstance(self.objects, QuerySet)

    def _streamed(self) -> Table:
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
        return Table(
            _iterate(resource, objects),
            header=resource.get_export_headers(),
            expected=total,
            row_function=resource.export_resource,
        )

    def _made_by_resource(self) -> Table:
        """Return the table that the Resource makes in its own way."""
        dataset = self.resource.export(queryset=self.objects)
        expected = len(dataset) if self._counts else None
        return Table(iter(dataset), header=dataset.headers, expected=expected)


def _iterate(resource: Any, objects: Any) -> Iterable[Any]:
    overridden = type(resource).iter_queryset is not _base().iter_queryset
    if overridden or not isinstance(objects, QuerySet):
        iterable: Iterable[Any] = resource.iter_queryset(objects)
        return iterable
    # With prefetches, the library would read page by page, and each page from the beginning.
    return objects.iterator(chunk_size=resource.get_chunk_size() or CHUNK_SIZE)
