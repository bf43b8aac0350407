"""The one door to django-import-export: Resources as what a file is made of."""

import inspect
from collections.abc import Iterable, Iterator
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.models import QuerySet

from async_downloads import cache
from async_downloads.building.content import CHUNK_SIZE

__all__ = ["export_resource", "resource_from"]


def export_resource(
    download_key: str, resource: Any, queryset: "Iterable[Any] | None" = None
) -> None:
    """Save what a Resource of django-import-export exports as a CSV file.

    It is written row by row, with progress, and never held in memory. Only a
    Resource with an ``export`` or an ``after_export`` of its own, which may do
    anything with the whole table, is left to make the whole table first.

    Args:
        download_key: The key that ``init_download`` returned.
        resource: A Resource, or the class of one that needs no arguments.
        queryset: The objects; those of the Resource if left out.

    Raises:
        DownloadCancelled: The download was cleared, or taken over by another run.
        ImproperlyConfigured: django-import-export is not installed.
        TypeError: ``resource`` is no Resource.
    """
    made = resource_from(resource)
    export = (_RowByRow if _streams(made) else _AllAtOnce)(download_key, made, queryset)
    counted = queryset is None or isinstance(queryset, QuerySet)
    cache.save_download(
        download_key,
        export.rows(),
        header=export.header(),
        expected_rows=export.count if counted else None,
    )


def resource_from(resource: Any, **kwargs: Any) -> Any:
    """Return a Resource.

    Args:
        resource: One, or the class of one.
        **kwargs: What the class takes.

    Raises:
        ImproperlyConfigured: django-import-export is not installed.
        TypeError: This is neither.
    """
    base = _base()
    if inspect.isclass(resource) and issubclass(resource, base):
        return resource(**kwargs)
    if isinstance(resource, base):
        return resource
    raise TypeError(f"{resource!r} is no Resource of django-import-export, nor a class of one.")


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


class _RowByRow:
    """What the Resource's own ``export`` would put into a table, without the table.

    The Resource is asked nothing before the download is claimed.
    """

    def __init__(self, download_key: str, resource: Any, objects: Any):
        self._key = download_key
        self._resource = resource
        self._objects = objects
        self._begun = False
        self._total = 0

    def count(self) -> int:
        """Return how many rows there will be."""
        self._begin()
        if isinstance(self._objects, QuerySet):
            self._total = self._objects.count()
        else:
            # A Resource may make anything of the queryset that it filters.
            self._objects = list(self._objects)
            self._total = len(self._objects)
        return self._total

    def header(self) -> Iterator[Any]:
        """Yield the names of the columns."""
        self._begin()
        yield from self._resource.get_export_headers()

    def rows(self) -> Iterator[Iterable[Any]]:
        """Yield the rows, and record progress."""
        self._begin()
        for index, instance in enumerate(_each(self._resource, self._objects)):
            yield self._resource.export_resource(instance)
            cache.update_percentage(self._key, self._total, index)

    def _begin(self) -> None:
        if self._begun:
            return
        self._begun = True
        resource, objects = self._resource, self._objects
        resource.before_export(objects)
        self._objects = resource.filter_export(
            resource.get_queryset() if objects is None else objects
        )


class _AllAtOnce(_RowByRow):
    """The table that a Resource makes in its own way."""

    def count(self) -> int:
        """Return how many rows the table has."""
        self._begin()
        return len(self._objects)

    def header(self) -> Iterator[Any]:
        """Yield the names of the columns."""
        self._begin()
        yield from self._objects.headers

    def rows(self) -> Iterator[Iterable[Any]]:
        """Yield the rows of the table."""
        self._begin()
        yield from self._objects

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._objects = self._resource.export(queryset=self._objects)


def _each(resource: Any, objects: Any) -> Iterable[Any]:
    own = type(resource).iter_queryset is not _base().iter_queryset
    if own or not isinstance(objects, QuerySet):
        theirs: Iterable[Any] = resource.iter_queryset(objects)
        return theirs
    # Theirs would read what has prefetches page by page, and find each page from the beginning.
    return objects.iterator(chunk_size=resource.get_chunk_size() or CHUNK_SIZE)
