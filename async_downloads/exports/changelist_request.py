"""The request for an export from a changelist, in values that a queue can carry."""

import zoneinfo
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from copy import copy
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from django.conf import settings as project_settings
from django.contrib.admin.options import IS_FACETS_VAR, IS_POPUP_VAR, TO_FIELD_VAR
from django.contrib.admin.views.main import ALL_VAR, ERROR_FLAG, PAGE_VAR
from django.contrib.auth import get_user_model
from django.contrib.messages.storage.cookie import CookieStorage
from django.db.models import QuerySet
from django.http import HttpRequest, QueryDict
from django.http.request import split_domain_port
from django.urls import Resolver404, get_script_prefix, resolve, set_script_prefix
from django.utils import timezone, translation

from async_downloads.exports.choices import UTC, Choices
from async_downloads.utils.model_admins import DatedFilters, admin_url

__all__ = ["Selection", "WorkerRequest", "changelist_of", "matching", "rows_of"]

#: Parameters of a changelist's URL that are not filters, search or order.
NOT_A_FILTER: Final = (PAGE_VAR, ALL_VAR, ERROR_FLAG, IS_POPUP_VAR, IS_FACETS_VAR, TO_FIELD_VAR)


class WorkerRequest(HttpRequest):
    """A request for a changelist, made by a worker.

    It has a user, the query string, the path and the host. It has no session and
    none of the attributes that the site's middleware adds.
    """

    def __init__(self, selection: "Selection", user: Any):
        """Make a request.

        Args:
            selection: The requested rows.
            user: The person who requested them, as read now.
        """
        super().__init__()
        self.method = "GET"
        self.GET = QueryDict(selection.query)
        self.path = selection.path
        self.path_info = "/" + selection.path.removeprefix(selection.script)
        self.user = user
        self._scheme = "https" if selection.secure else "http"
        name, port = split_domain_port(selection.host)
        self.META = {
            "REQUEST_METHOD": "GET",
            "QUERY_STRING": selection.query,
            "SCRIPT_NAME": selection.script.rstrip("/"),
            "PATH_INFO": self.path_info,
            "HTTP_HOST": selection.host,
            "SERVER_NAME": name,
            "SERVER_PORT": port or ("443" if selection.secure else "80"),
        }
        try:
            self.resolver_match = resolve(self.path_info)
        except Resolver404:
            # Workers may have another URLconf than the admin.
            self.resolver_match = None
        # A ModelAdmin may call message_user(); these messages are dropped.
        self._messages = CookieStorage(self)

    def _get_scheme(self) -> str:
        return self._scheme


@dataclass(frozen=True, slots=True)
class Selection:
    """The requested rows of a changelist.

    It holds plain values only, no queryset and no request, so that any queue can
    carry it and the worker reads current permissions and rows.

    Attributes:
        site: The name of the admin site.
        app_label: The app of the model.
        model: The model's name, in lower case.
        user: The primary key of the person, as text.
        query: The query string: filters, search and order.
        keys: The primary keys of the ticked rows, as text; None for all matching rows.
        path: The path of the changelist.
        script: The script prefix of the site, with a slash at the end.
        host: The host of the page, for absolute URLs.
        secure: Whether the page was fetched by HTTPS.
        language: The language of the page, for headings and texts; None for none.
        time_zone: The name of the page's time zone.
        state: The values of ``get_export_state``.
        choices: The values of ``Choices``; None for an export without choices.
    """

    site: str
    app_label: str
    model: str
    user: str
    query: str
    keys: list[str] | None
    path: str
    script: str
    host: str
    secure: bool
    language: str | None
    time_zone: str
    state: dict[str, Any]
    choices: dict[str, Any] | None = None

    @classmethod
    def of(
        cls, request: HttpRequest, model_admin: Any, keys: list[str] | None, state: dict[str, Any]
    ) -> "Selection":
        """Return the selection of a request.

        Args:
            request: A request with the query string of the changelist.
            model_admin: The ModelAdmin of the changelist.
            keys: The primary keys of the ticked rows; None for all matching rows.
            state: The values of ``get_export_state``.
        """
        opts, site = model_admin.opts, model_admin.admin_site.name
        query = request.GET.copy()
        for name in NOT_A_FILTER:
            query.pop(name, None)
        user: Any = request.user
        return cls(
            site=site,
            app_label=opts.app_label,
            model=opts.model_name,
            # The way of Django's sessions.
            user=user._meta.pk.value_to_string(user),
            query=query.urlencode(),
            keys=keys,
            path=admin_url(site, opts, "changelist"),
            script=get_script_prefix(),
            host=request.get_host(),
            secure=request.is_secure(),
            language=translation.get_language(),
            time_zone=timezone.get_current_timezone_name(),
            state=state,
        )

    def with_choices(self, choices: Choices) -> "Selection":
        """Return the same selection with choices, in the chosen time zone."""
        zone = "UTC" if choices.time_zone == UTC else self.time_zone
        return replace(self, choices=choices.as_values(), time_zone=zone)

    def as_values(self) -> dict[str, Any]:
        """Return a dictionary that a queue can carry."""
        return asdict(self)

    def find_user(self) -> Any:
        """Return the person from the database; None if the user was deleted."""
        users = get_user_model()
        key = users._meta.pk.to_python(self.user)
        user = users._default_manager.filter(pk=key).first()
        # A collation may find a user whose textual key only looks the same.
        return user if user is not None and user.pk == key else None

    @contextmanager
    def conditions(self) -> Iterator[None]:
        """Activate the page's language, time zone and script prefix inside the block."""
        own = get_script_prefix()
        set_script_prefix(self.script)
        try:
            with translation.override(self.language), self._in_time_zone():
                yield
        finally:
            set_script_prefix(own)

    def _in_time_zone(self) -> Any:
        try:
            zone = zoneinfo.ZoneInfo(self.time_zone)
        except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
            # An offset has a name that is not a zone.
            return nullcontext()
        return timezone.override(zone) if project_settings.USE_TZ else nullcontext()


def changelist_of(model_admin: Any, request: HttpRequest) -> Any:
    """Return the changelist of a request, without counting rows and without reading any.

    Args:
        model_admin: The ModelAdmin.
        request: The person's request, with the filters.

    Raises:
        IncorrectLookupParameters: There are no such filters.
        SuspiciousOperation: The filters are not allowed.
    """
    # Other threads use the ModelAdmin as well, so a copy is changed.
    copied = copy(model_admin)
    base = model_admin.get_changelist(request)
    copied.get_changelist = lambda request, **kwargs: _without_results(base)
    return copied.get_changelist_instance(request)


def rows_of(changelist: Any, request: HttpRequest, keys: list[str] | None) -> "QuerySet[Any]":
    """Return the rows that a changelist shows on all of its pages, in its order.

    Ticked rows stay selected, whether they still match the filters or not, if the
    person may view them. A form has at most ``DATA_UPLOAD_MAX_NUMBER_FIELDS`` of
    them, so one query can name them all.

    Args:
        changelist: The result of ``changelist_of``.
        request: The same request.
        keys: The primary keys of the ticked rows; None for all matching rows.
    """
    rows: QuerySet[Any] = changelist.queryset
    if keys is None:
        return rows
    rows = changelist.root_queryset
    if not rows.query.select_related:
        rows = changelist.apply_select_related(rows)
    return rows.order_by(*changelist.get_ordering(request, rows)).filter(pk__in=keys)


def matching(model_admin: Any, request: HttpRequest, keys: list[str] | None) -> "QuerySet[Any]":
    """Return the rows of ``rows_of`` for the changelist of a request."""
    return rows_of(changelist_of(model_admin, request), request, keys)


def _without_results(changelist: type[Any]) -> type[Any]:
    """Return a subclass of a changelist that neither counts rows nor reads a page."""
    is_dated = issubclass(changelist, DatedFilters)
    bases = (changelist,) if is_dated else (DatedFilters, changelist)
    return type(changelist.__name__, bases, {"get_results": lambda self, request: None})
