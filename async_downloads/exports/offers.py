"""The columns and formats from which a person chooses, as far as the person may see them."""

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from django.contrib.auth import get_permission_codename, get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop

from async_downloads.building.columns import verbose_name_of
from async_downloads.exceptions import DownloadError
from async_downloads.exports.changelist_columns import Columns
from async_downloads.exports.resources import headings
from async_downloads.formats import registry

__all__ = [
    "ALL_FIELDS",
    "Offer",
    "chosen_columns",
    "expanded",
    "offered_columns",
    "offered_formats",
]

#: In ``export_fields``: all fields of a model, or of a related one after its name.
ALL_FIELDS: Final = "*"

#: What people call the formats of the package.
FORMAT_LABELS: Final = {
    "csv": _("CSV"),
    "jsonl": _("JSON Lines"),
    "ods": _("OpenDocument spreadsheet"),
    "parquet": _("Parquet"),
    "tsv": _("Tab-separated values"),
    "xlsx": _("Excel workbook"),
    "zip": _("CSV in a ZIP archive"),
}

#: The encoding "for Excel" of CSV stands for it.
WITHOUT_AN_OFFER: Final = "csv-excel"


class Offer(NamedTuple):
    """A column that a person may choose.

    Attributes:
        name: As in ``list_display``; of a Resource, the name of the field.
        label: Its heading.
        is_default: Whether it is chosen unless the person chooses otherwise.
    """

    name: Any
    label: str
    is_default: bool


def offered_columns(model_admin: Any, request: HttpRequest) -> dict[str, Offer]:
    """Return the columns that a person may choose, by the keys that stand for them in forms.

    The columns of the list come first: the person sees their content there. Then come those
    of ``export_fields`` that reach no related model which the person may not view.

    Args:
        model_admin: The ModelAdmin.
        request: The person's request, or one that the worker has made.
    """
    resource = model_admin.get_export_resource(request)
    if resource is not None:
        return {name: Offer(name, label, True) for name, label in headings(resource).items()}
    listed = list(model_admin.get_export_list_display(request))
    fields = list(expanded(model_admin, model_admin.get_export_fields(request)))
    columns = Columns(model_admin, [*listed, *fields])
    offers: dict[str, Offer] = {}
    for index, (name, label) in enumerate(zip(columns.names, columns.header, strict=True)):
        reached = columns.reached(name)
        if index < len(columns.names) - len(fields):
            _add(offers, Offer(name, label, True))
        elif all(_may_view(model_admin.admin_site, request, model) for model in reached):
            # Django makes the heading of a path from its name, which is in no language.
            verbose = verbose_name_of(model_admin.model, name) if reached else label
            _add(offers, Offer(name, verbose, False))
    return offers


def chosen_columns(model_admin: Any, request: HttpRequest, keys: Iterable[str]) -> list[Offer]:
    """Return chosen columns, in their order.

    Args:
        model_admin: The ModelAdmin.
        request: The person's request, or one that the worker has made.
        keys: The keys of the columns.

    Raises:
        DownloadError: The person may not choose one of them, or no longer.
    """
    offers = offered_columns(model_admin, request)
    try:
        return [offers[key] for key in keys]
    except KeyError:
        raise DownloadError(
            gettext_noop("One of the columns is no longer available to you. Choose them again.")
        ) from None


def expanded(model_admin: Any, names: Iterable[Any]) -> Iterator[Any]:
    """Yield the names of ``export_fields``, with those of its fields in place of each ``*``.

    The hash of a password is not one of them.

    Args:
        model_admin: The ModelAdmin.
        names: The value of ``export_fields``.

    Raises:
        FieldDoesNotExist: The name before ``__*`` is not that of a relation.
    """
    for name in names:
        if not isinstance(name, str) or not name.endswith(ALL_FIELDS):
            yield name
            continue
        prefix, opts = name.removesuffix(ALL_FIELDS), model_admin.opts
        for part in prefix.split("__")[:-1]:
            opts = opts.get_field(part).related_model._meta
        # A site's own model need not be made of Django's.
        is_of_users = issubclass(opts.model, (AbstractBaseUser, get_user_model()))
        for field in opts.concrete_fields:
            if field.name != "password" or not is_of_users:
                yield f"{prefix}{field.name}"


def offered_formats() -> dict[str, Any]:
    """Return the labels of the installed formats, by their names."""
    return {
        each.name: f"{FORMAT_LABELS.get(each.name, each.name)} ({each.extensions[0]})"
        for each in registry.installed()
        if each.name != WITHOUT_AN_OFFER
    }


def _add(offers: dict[str, Offer], offer: Offer) -> None:
    """Add a column under a key of its own; a column twice is the same column."""
    name = offer.name
    key = name if isinstance(name, str) else str(getattr(name, "__name__", "column"))
    while key in offers and offers[key].name != name:
        key += "_"
    offers.setdefault(key, offer)


def _may_view(site: Any, request: HttpRequest, model: Any) -> bool:
    """Return whether a person may view the objects of a model; never those of any model."""
    if model is None:
        return False
    if site.is_registered(model):
        return bool(site.get_model_admin(model).has_view_permission(request))
    opts, user = model._meta, request.user
    return any(
        user.has_perm(f"{opts.app_label}.{get_permission_codename(action, opts)}")
        for action in ("view", "change")
    )
