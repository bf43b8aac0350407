"""The page before an export: what is exported, and what the person chooses."""

import json
from functools import cached_property
from typing import Any, Final

from django.conf import settings as project_settings
from django.contrib import messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import model_ngettext
from django.contrib.auth import get_permission_codename
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from async_downloads.exports import presets
from async_downloads.exports.changelist_request import (
    Selection,
    WorkerRequest,
    changelist_of,
    rows_of,
)
from async_downloads.exports.choices import Choices, moved
from async_downloads.exports.forms import ExportForm
from async_downloads.exports.offers import Offer, offered_columns
from async_downloads.exports.wording import filters_of
from async_downloads.models import ExportPreset
from async_downloads.models.labels import grouped
from async_downloads.store.outages import is_outage
from async_downloads.store.transactions import DatabaseFault, in_savepoint
from async_downloads.utils.log import get_logger
from async_downloads.utils.model_admins import admin_url, check_keys

__all__ = ["KEYS", "ExportPage", "posted_keys"]

logger = get_logger(__name__)

TEMPLATE: Final = "async_downloads/admin/export.html"

#: The field with the primary keys of the ticked rows, as JSON. One field of any length counts
#: less than many: Django limits their number.
KEYS: Final = "keys"

#: The buttons that show the page again instead of starting the export.
MOVE: Final = {"_up": -1, "_down": 1}
REDISPLAY: Final = frozenset({*MOVE, "_all", "_none", "_use"})
SAVE: Final = "_save"


def posted_keys(request: HttpRequest, model: type[Model]) -> list[str] | None:
    """Return the primary keys of the ticked rows that a page has posted; None for all rows.

    Args:
        request: The person's request.
        model: The model of the rows.

    Raises:
        BadRequest: No page has posted this.
    """
    if KEYS not in request.POST:
        return None
    try:
        keys = json.loads(request.POST[KEYS])
    except (RecursionError, ValueError) as error:
        raise BadRequest(f"{KEYS} must be JSON.") from error
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise BadRequest(f"{KEYS} must be a list of texts.")
    # The list posts each in a field of its own, and one query has to name them all.
    limit = project_settings.DATA_UPLOAD_MAX_NUMBER_FIELDS
    if limit is not None and len(keys) > limit:
        raise BadRequest(f"{KEYS} must not be more than DATA_UPLOAD_MAX_NUMBER_FIELDS.")
    check_keys(model, keys)
    return keys


class ExportPage:
    """The page for one request."""

    def __init__(self, model_admin: Any, request: HttpRequest, keys: list[str] | None):
        """Read what the person may choose.

        Args:
            model_admin: The ModelAdmin, with ``ExportInBackgroundMixin``.
            request: The person's request, with the query string of the changelist.
            keys: The primary keys of the ticked rows; None for all matching rows.

        Raises:
            BadRequest: A posted text cannot be written into a page.
        """
        try:
            request.POST.urlencode()
        except UnicodeEncodeError as error:
            # A client may choose an encoding for the fields that makes lone surrogates.
            raise BadRequest("The fields must be Unicode.") from error
        self._admin = model_admin
        self._request = request
        self._keys = keys
        state = model_admin.get_export_state(request)
        selection = Selection.of(request, model_admin, keys, state)
        self._worker_request = WorkerRequest(selection, request.user)
        model_admin.restore_export_state(self._worker_request, state)
        self._changelist_key = presets.changelist_key(model_admin)

    def submitted(self) -> Choices | None:
        """Return the choices for an export, once they are complete and kept.

        Returns:
            None if the page is to be shown, for the first time or again.
        """
        data = self._request.POST
        if self._request.method != "POST" or not REDISPLAY.isdisjoint(data):
            return None
        self.form = self._form(data)
        if not self.form.is_valid() or not self._save_preset(required=SAVE in data):
            return None
        if SAVE in data:
            self.form = self._form(None)
            return None
        choices = self.form.choices()
        presets.remember(self._request.user, self._changelist_key, choices)
        return choices

    def response(self) -> HttpResponse:
        """Return the page.

        Raises:
            IncorrectLookupParameters: There are no such filters.
            SuspiciousOperation: The filters are not allowed.
        """
        admin, request = self._admin, self._request
        changelist = changelist_of(admin, self._worker_request)
        rows = rows_of(changelist, self._worker_request, self._keys)
        count = self._count(rows)
        filters = filters_of(changelist) if self._keys is None else []
        site, query = admin.admin_site.name, request.GET.urlencode()
        query = f"?{query}" if query else ""
        context = {
            **admin.admin_site.each_context(request),
            "title": _("Export %(name)s") % {"name": admin.opts.verbose_name_plural},
            "opts": admin.opts,
            "form": self.form,
            "presets": self.presets,
            "chosen_preset": self._posted.get("preset", ""),
            "moved_up": self._posted.get("_up"),
            "moved_down": self._posted.get("_down"),
            "count": grouped(count),
            "counted": model_ngettext(admin.opts, count),
            "described": self._described(bool(filters)),
            "filters": filters,
            "keys": None if self._keys is None else json.dumps(self._keys),
            "keys_field": KEYS,
            "url": admin_url(site, admin.opts, "export_in_background") + query,
            "list_url": admin_url(site, admin.opts, "changelist") + query,
        }
        request.current_app = site
        return TemplateResponse(request, TEMPLATE, context)

    def _count(self, rows: "QuerySet[Any]") -> int:
        """Return the number of rows.

        Raises:
            IncorrectLookupParameters: Django has accepted the value of a filter, and the database
                refuses it.
        """
        admin = self._admin
        paginator = admin.get_paginator(self._worker_request, rows, admin.list_per_page)
        try:
            return int(in_savepoint(lambda: paginator.count, using=rows.db))
        except (DatabaseFault, LookupError, OverflowError, ValueError) as error:
            if isinstance(error, DatabaseFault) and is_outage(error):
                raise
            logger.warning("The rows of %s cannot be counted", rows.model, exc_info=True)
            raise IncorrectLookupParameters from error

    def _described(self, filtered: bool) -> str:
        if self._keys is not None:
            return _("those that are ticked in the list")
        return _("all that match the filters of the list") if filtered else _("the whole list")

    @cached_property
    def form(self) -> ExportForm:
        """The form with the choices that the page shows."""
        return self._form(None)

    @cached_property
    def presets(self) -> dict[str, ExportPreset]:
        """The presets of the list."""
        return presets.presets_of(self._changelist_key)

    @cached_property
    def _offers(self) -> dict[str, Offer]:
        return offered_columns(self._admin, self._worker_request)

    @property
    def _posted(self) -> Any:
        """The posted data of this page; none of another page, such as of the list."""
        return self._request.POST if "order" in self._request.POST else {}

    def _form(self, data: Any) -> ExportForm:
        choices, order = self._begin()
        return ExportForm(
            data,
            offers=self._offers,
            choices=choices,
            order=order,
            may_share=self._may("add"),
        )

    def _begin(self) -> tuple[Choices, list[str]]:
        """Return the choices that the page begins with, and the order of its columns."""
        data: Any = self._posted
        preset = self.presets.get(data.get("preset", "")) if "_use" in data else None
        if preset is not None:
            return self._seen(Choices.read(preset.choices)), []
        if not data:
            last = presets.last_choices(self._request.user, self._changelist_key)
            return self._seen(last) if last else self._default(), []
        order = data.getlist("order")
        for name, by in MOVE.items():
            order = moved(order, data.get(name, ""), by)
        ticked = data.getlist("columns")
        if "_all" in data or "_none" in data:
            ticked = order if "_all" in data else []
        chosen = {name: data.get(name, "") for name in ("format", "encoding", "time_zone")}
        return Choices(columns=ticked, **chosen), order

    def _default(self) -> Choices:
        return Choices([key for key, offer in self._offers.items() if offer.is_default])

    def _seen(self, choices: Choices) -> Choices:
        """Return kept choices with the columns that the person may choose now."""
        columns = [key for key in choices.columns if key in self._offers]
        if len(columns) < len(choices.columns):
            text = _("Some columns of these choices are not available to you, and are left out.")
            self._admin.message_user(self._request, text, messages.WARNING)
        return Choices(columns, choices.format, choices.encoding, choices.time_zone)

    def _may(self, action: str) -> bool:
        """Return whether the person has a permission on presets."""
        opts = ExportPreset._meta
        codename = get_permission_codename(action, opts)
        return bool(self._request.user.has_perm(f"{opts.app_label}.{codename}"))

    def _save_preset(self, *, required: bool) -> bool:
        """Save the choices under the posted name, if there is one.

        Returns:
            Whether all is well; if not, the form says why.

        Raises:
            PermissionDenied: The person may not save presets.
        """
        name = self.form.cleaned_data.get("preset_name", "")
        if not name and not required:
            return True
        if not self._may("add"):
            raise PermissionDenied
        if not name:
            self.form.add_error("preset_name", _("A preset needs a name."))
            return False
        if presets.is_taken(self._changelist_key, name) and not self._may("change"):
            self.form.add_error("preset_name", _("There is a preset with this name already."))
            return False
        presets.save_preset(self._changelist_key, name, self.form.choices())
        text = _("The preset “%(name)s” has been saved.") % {"name": name}
        self._admin.message_user(self._request, text, messages.SUCCESS)
        return True
