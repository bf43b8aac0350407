"""The rows of an export in words."""

from collections.abc import Iterator
from typing import Any

from django.utils.text import capfirst
from django.utils.translation import gettext as _

from async_downloads.exports.changelist_columns import text_of

__all__ = ["filters_of"]


def filters_of(changelist: Any) -> list[str]:
    """Return the search and the active filters of a changelist, each as a text.

    Args:
        changelist: The result of ``changelist_of``.
    """
    # Facets would count the rows of each choice.
    changelist.add_facets = False
    texts = list(_filters(changelist))
    if changelist.query:
        texts.insert(0, _("Search: %(text)s") % {"text": changelist.query})
    return texts


def _filters(changelist: Any) -> Iterator[str]:
    others = changelist.get_filters_params()
    for spec in changelist.filter_specs:
        for name in spec.expected_parameters():
            others.pop(name, None)
        if spec.used_parameters:
            yield _pair(spec.title, _chosen(spec, changelist))
    for name, values in others.items():
        # Of the date hierarchy, and of links to the list.
        yield _pair(name.removesuffix("__exact").replace("__", " "), ", ".join(values))


def _chosen(spec: Any, changelist: Any) -> str:
    """Return the label of the chosen value of a filter, or the value itself."""
    for choice in spec.choices(changelist):
        if choice.get("selected") and choice.get("display"):
            return text_of(choice["display"])
    values = spec.used_parameters.values()
    return ", ".join(
        ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
        for value in values
    )


def _pair(name: Any, value: str) -> str:
    return _("%(name)s: %(value)s") % {"name": capfirst(text_of(name)), "value": value}
