"""The one door to django-import-export: Resources as what a file is made of."""

import inspect
from collections.abc import Iterable, Iterator
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.models import QuerySet

from async_downloads import cache
from async_downloads.shortcuts import CHUNK_SIZE

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
    rows = _rows(download_key, made, queryset) if _streams(made) else _table(made, queryset)
    cache.save_download(download_key, rows)


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


def _table(resource: Any, queryset: Any) -> Iterator[Iterable[Any]]:
    table = resource.export(queryset=queryset)
    yield table.headers
    yield from table


def _rows(download_key: str, resource: Any, queryset: Any) -> Iterator[Iterable[Any]]:
    """Yield what the Resource's own ``export`` would have put into a table."""
    resource.before_export(queryset)
    objects = resource.filter_export(resource.get_queryset() if queryset is None else queryset)
    yield resource.get_export_headers()
    total = objects.count() if isinstance(objects, QuerySet) else 0
    for index, instance in enumerate(_each(resource, objects)):
        yield resource.export_resource(instance)
        cache.update_percentage(download_key, total, index)


def _each(resource: Any, objects: Any) -> Iterable[Any]:
    own = type(resource).iter_queryset is not _base().iter_queryset
    if own or not isinstance(objects, QuerySet):
        theirs: Iterable[Any] = resource.iter_queryset(objects)
        return theirs
    # Theirs would read what has prefetches page by page, and find each page from the beginning.
    return objects.iterator(chunk_size=resource.get_chunk_size() or CHUNK_SIZE)
