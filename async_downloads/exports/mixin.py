"""Exports of any list of the admin, built by a worker."""

from typing import Any, Final

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, path, reverse
from django.utils.html import format_html
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from async_downloads.exceptions import TooManyDownloadsError
from async_downloads.exports.changelist_columns import Columns
from async_downloads.exports.changelist_request import Selection, WorkerRequest, matching
from async_downloads.exports.choices import Choices
from async_downloads.exports.offers import chosen_columns
from async_downloads.exports.page import ExportPage, posted_keys
from async_downloads.exports.resources import resource_from
from async_downloads.files.names import dated_names
from async_downloads.formats import registry
from async_downloads.shortcuts import start_download
from async_downloads.utils.model_admins import ModelAdminMixin, admin_url, check_keys

__all__ = ["ExportInBackgroundMixin"]

ACTION: Final = "export_in_background"

TEMPLATE: Final = "async_downloads/admin/change_list.html"

UNKNOWN_FILTERS: Final = gettext_lazy(
    "These filters do not exist, so nothing was exported. Choose them again."
)


class ExportInBackgroundMixin(ModelAdminMixin):
    """Adds exports to a ModelAdmin: built by a worker, delivered in the download centre.

    An action exports the ticked rows; a button above the list exports all rows that
    match its filters and search, in its order. Both lead to a page where the person chooses
    columns and format, unless ``export_without_asking`` is set. Then, the file is CSV with the
    columns of ``list_display``, or with those of a Resource of django-import-export.

    Put it before ``ModelAdmin``::

        class OrderAdmin(ExportInBackgroundMixin, admin.ModelAdmin): ...

    Staff who may view the list may export it, unless the site overrides
    ``has_export_permission``. Both permissions are checked when the export is
    requested, and again by the worker.

    Attributes:
        export_task: The task, as for ``init_generic_csv_download``: by default a
            function for django-q2. Another task must call ``export_changelist``
            with its arguments.
        export_resource_class: A Resource to export instead of ``list_display``. By
            default, a ModelAdmin with the ``ExportMixin`` of django-import-export
            exports the first of its ``resource_classes``.
        export_fields: Further columns that a person may choose, as in ``list_display``.
            ``"*"`` stands for all fields of the model, and ``"customer__*"`` for those of
            the related model. A column that reaches a related model is for those who may
            view that model.
        export_without_asking: Whether one click starts the export, without a page.
    """

    export_task: Any = "async_downloads.exports.tasks.export_changelist"
    export_resource_class: Any = None
    export_fields: Any = ()
    export_without_asking = False

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        order = cls.__mro__
        if admin.ModelAdmin in order[: order.index(ExportInBackgroundMixin)]:
            raise TypeError(
                f"{cls.__name__} would show no exports: ExportInBackgroundMixin must come "
                "before the ModelAdmin that it is mixed into."
            )

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        # None turns actions off.
        if self.actions is not None and ACTION not in self.actions:
            self.actions = [*self.actions, ACTION]

    # Hooks for sites

    def has_export_permission(self, request: HttpRequest) -> bool:
        """Return whether a person who may view the list may export it.

        Args:
            request: The person's request, or one that the worker has made.
        """
        # django-import-export has a method of the same name and meaning.
        inherited = getattr(super(), "has_export_permission", None)
        return True if inherited is None else bool(inherited(request))

    def get_export_list_display(self, request: HttpRequest) -> Any:
        """Return the columns of the file, as in ``list_display``.

        Args:
            request: The person's request, or one that the worker has made.
        """
        return self.get_list_display(request)

    def get_export_fields(self, request: HttpRequest) -> Any:
        """Return further columns that a person may choose, as in ``export_fields``.

        Args:
            request: The person's request, or one that the worker has made.
        """
        return self.export_fields

    def get_export_resource(self, request: HttpRequest) -> Any:
        """Return a Resource of django-import-export to export; None for the columns.

        Args:
            request: The person's request, or one that the worker has made.

        Raises:
            ImproperlyConfigured: django-import-export is not installed.
            TypeError: ``export_resource_class`` is not a Resource.
        """
        kind = self.export_resource_class
        # A method of django-import-export's ExportMixin.
        choose: Any = getattr(self, "choose_export_resource_class", None)
        if kind is None and choose is None:
            return None
        arguments = getattr(self, "get_export_resource_kwargs", None)
        kwargs = {} if arguments is None else arguments(request)
        return resource_from(kind or choose(None, request), **kwargs)

    def get_export_state(self, request: HttpRequest) -> dict[str, Any]:
        """Return further values of the request for the worker, of types that a queue carries.

        Args:
            request: The request that starts the export.
        """
        return {}

    def restore_export_state(self, request: HttpRequest, state: dict[str, Any]) -> None:
        """Set the values of ``get_export_state`` on the worker's request.

        Args:
            request: The new request, before any permission is checked.
            state: The result of ``get_export_state``.
        """

    # Pages

    def get_urls(self) -> list[Any]:
        """Add the URL of the button."""
        name = f"{self.opts.app_label}_{self.opts.model_name}_{ACTION}"
        view = self.admin_site.admin_view(self.export_in_background_view)
        return [path("export-in-background/", view, name=name), *super().get_urls()]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Add the button to the list, whichever template it has."""
        response = super().changelist_view(request, extra_context)
        context = getattr(response, "context_data", None) or {}
        if not isinstance(response, TemplateResponse) or "cl" not in context:
            # A redirect, or a page that asks for confirmation.
            return response
        changelist = context["cl"]
        if changelist.is_popup or not self.may_export(request):
            return response
        context["async_downloads_change_list"] = response.resolve_template(response.template_name)
        context["async_downloads_export_url"] = self._url(ACTION) + changelist.get_query_string()
        context["async_downloads_export_asks"] = not self.export_without_asking
        response.template_name = TEMPLATE
        return response

    def response_action(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Check the ticked rows of an export; those of other actions are not ours to refuse.

        Raises:
            BadRequest: No list has posted these.
        """
        if ACTION in request.POST.getlist("action"):
            check_keys(self.model, request.POST.getlist(ACTION_CHECKBOX_NAME))
        return super().response_action(request, *args, **kwargs)

    @admin.action(
        permissions=["export"],
        description=gettext_lazy("Export selected %(verbose_name_plural)s in the background"),
    )
    def export_in_background(
        self, request: HttpRequest, queryset: "QuerySet[Any]"
    ) -> HttpResponse | None:
        """Show the page for an export of the ticked rows, or start it."""
        keys = None
        if request.POST.get("select_across", "0") in {"", "0"}:
            keys = [str(key) for key in queryset.order_by().values_list("pk", flat=True)]
        if self.export_without_asking:
            self._start(request, keys, None)
            return None
        return self._ask(request, keys, submitted=False)

    def export_in_background_view(self, request: HttpRequest) -> HttpResponse:
        """Show the page before an export, or start the export and return to the list.

        All rows that match the query string are exported, or those that were ticked.
        """
        if not self.export_without_asking:
            return self._ask(request, posted_keys(request, self.model), submitted=True)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        self._start(request, None, None)
        return self._back(request)

    # Start

    def may_export(self, request: HttpRequest) -> bool:
        """Return whether a person may export this list.

        Args:
            request: The person's request, or one that the worker has made.
        """
        may_see = self.admin_site.has_permission(request) and self.has_view_or_change_permission(
            request
        )
        return may_see and bool(self.has_export_permission(request))

    def _ask(
        self, request: HttpRequest, keys: list[str] | None, *, submitted: bool
    ) -> HttpResponse:
        if not self.may_export(request):
            raise PermissionDenied
        try:
            page = ExportPage(self, request, keys)
            choices = page.submitted() if submitted else None
            if choices is None:
                return page.response()
        except IncorrectLookupParameters:
            self._refuse(request, UNKNOWN_FILTERS)
            # With these filters, the list of Django may fail.
            return HttpResponseRedirect(self._url("changelist"))
        self._start(request, keys, choices)
        return self._back(request)

    def _start(self, request: HttpRequest, keys: list[str] | None, choices: Choices | None) -> None:
        if not self.may_export(request):
            raise PermissionDenied
        selection = Selection.of(request, self, keys, self.get_export_state(request))
        if choices is not None:
            selection = selection.with_choices(choices)
        # Through the class: an instance would bind a function as a method.
        task = type(self).export_task
        filename, title = self._names(choices)
        try:
            self._check(selection, request.user)
            start_download(task, request.user, filename, title, args=[selection.as_values()])
        except IncorrectLookupParameters:
            self._refuse(request, UNKNOWN_FILTERS)
        except TooManyDownloadsError as error:
            self._refuse(request, str(error))
        else:
            self.message_user(request, self._requested(), messages.SUCCESS)

    def _refuse(self, request: HttpRequest, text: Any) -> None:
        self.message_user(request, text, messages.ERROR)

    def _names(self, choices: Choices | None) -> tuple[str, str]:
        """Return the name of the file, and that in the list of downloads."""
        extension = registry.named(choices.format if choices else "csv").extensions[0]
        return dated_names(str(capfirst(self.opts.verbose_name_plural)), extension)

    def _check(self, selection: Selection, user: Any) -> None:
        """Do the first steps of the worker, so that an error is raised in the request."""
        request = WorkerRequest(selection, user)
        self.restore_export_state(request, selection.state)
        if selection.choices is not None:
            chosen_columns(self, request, selection.choices["columns"])
        elif self.get_export_resource(request) is None:
            columns = Columns(self, self.get_export_list_display(request))
            columns.header  # noqa: B018 (raises for unknown columns)
        matching(self, request, selection.keys)

    def _back(self, request: HttpRequest) -> HttpResponseRedirect:
        query = request.GET.urlencode()
        return HttpResponseRedirect(self._url("changelist") + (f"?{query}" if query else ""))

    def _requested(self) -> str:
        text = _("The export has been requested.")
        try:
            url = reverse("async_downloads:download_list")
        except NoReverseMatch:
            return text
        return format_html('{} <a href="{}">{}</a>', text, url, _("Your downloads"))

    def _url(self, name: str) -> str:
        return admin_url(self.admin_site.name, self.opts, name)
