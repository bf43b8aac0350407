"""Bulk actions of staff, each confirmed on a page of its own."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext, ngettext, ngettext_lazy
from django.utils.translation import gettext_lazy as _

from async_downloads import permissions, store
from async_downloads.admin.display import badge
from async_downloads.executors import starting
from async_downloads.models import Download, DownloadCollection, DownloadQuerySet
from async_downloads.models.labels import grouped
from async_downloads.utils.model_admins import ModelAdminMixin, check_keys
from async_downloads.utils.moments import parse_moment

__all__ = ["ACTION_LIMIT", "MAX_LISTED", "BulkAction", "CollectionActions", "DownloadActions"]

#: Downloads that one request may act on, so that it ends before a server's time limit.
ACTION_LIMIT: Final = 10_000

#: Longer than a confirmation page stays on a screen.
MAX_PAGE_AGE: Final = timedelta(days=3650)

#: Downloads that the confirmation page lists by name.
MAX_LISTED: Final = 10


class ExtendForm(forms.Form):
    """The time for which downloads are kept."""

    days = forms.TypedChoiceField(
        label=_("Keep for"),
        coerce=int,
        initial=7,
        choices=[
            (1, _("One day")),
            (7, _("One week")),
            (30, _("30 days")),
            (90, _("90 days")),
        ],
    )

    def expires_at(self) -> datetime:
        """Return the new expiry."""
        return timezone.now() + timedelta(days=self.cleaned_data["days"])


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkAction:
    """A bulk action on downloads, and the texts of its confirmation page.

    Attributes:
        name: The action's name in the admin.
        title: The title of the confirmation page.
        consequence: The page's explanation of what will happen.
        button: The label of the button that confirms.
        done: The message afterwards, with ``count``.
        flag: The kind of entry in the admin's history.
        applicable: Returns the downloads to which the action applies.
        act: Acts on downloads, and returns their number.
        form: Further fields of the confirmation page; none by default.
    """

    name: str
    title: Any
    consequence: Any
    button: Any
    done: Any
    flag: int
    applicable: Callable[[DownloadQuerySet], DownloadQuerySet]
    act: Callable[[DownloadQuerySet, Any, HttpRequest], int]
    form: type[forms.Form] = forms.Form

    @property
    def removes(self) -> bool:
        """Whether the action deletes rows."""
        return self.flag == DELETION


PURGE: Final = BulkAction(
    # The name of Django's own action, which this one replaces because it reads every row.
    name="delete_selected",
    title=_("Purge downloads"),
    consequence=_(
        "They are removed with their files, and disappear from the lists of their owners. "
        "Those in progress are cancelled."
    ),
    button=_("Purge"),
    done=ngettext_lazy(
        "%(count)d download was purged.", "%(count)d downloads were purged.", "count"
    ),
    flag=DELETION,
    applicable=DownloadQuerySet.all,
    act=lambda rows, form, request: store.purge(rows),
)

CANCEL: Final = BulkAction(
    name="cancel",
    title=_("Cancel downloads"),
    consequence=_(
        "They disappear from the lists of their owners. A worker that is building one of them "
        "notices within seconds, stops, and removes its partial file."
    ),
    button=_("Cancel downloads"),
    done=ngettext_lazy(
        "%(count)d download was cancelled.", "%(count)d downloads were cancelled.", "count"
    ),
    flag=DELETION,
    applicable=DownloadQuerySet.unfinished,
    act=lambda rows, form, request: store.cancel(rows),
)

MARK_FAILED: Final = BulkAction(
    name="mark_failed",
    title=_("Mark downloads as failed"),
    consequence=_(
        "They stay in the lists of their owners as failed. A worker that is building one of them "
        "notices within seconds, stops, and removes its partial file. As after any failure, a task "
        "that the queue delivers again may still finish one; to rule that out, cancel it."
    ),
    button=_("Mark as failed"),
    done=ngettext_lazy(
        "%(count)d download was marked as failed.",
        "%(count)d downloads were marked as failed.",
        "count",
    ),
    flag=CHANGE,
    applicable=DownloadQuerySet.unfinished,
    act=lambda rows, form, request: store.mark_failed(rows, by=request.user.get_username()),
)

EXTEND_EXPIRY: Final = BulkAction(
    name="extend_expiry",
    title=_("Keep downloads for longer"),
    consequence=_(
        "They stay in the lists of their owners for this long from now. No expiry moves "
        "to an earlier time."
    ),
    button=_("Keep for longer"),
    done=ngettext_lazy(
        "%(count)d download is kept for longer.",
        "%(count)d downloads are kept for longer.",
        "count",
    ),
    flag=CHANGE,
    applicable=lambda rows: rows.finished().filter(expires_at__isnull=False),
    act=lambda rows, form, request: store.extend_expiry(rows, form.expires_at()),
    form=ExtendForm,
)

HOLD: Final = BulkAction(
    name="hold",
    title=_("Hold downloads"),
    consequence=_(
        "They do not expire, and neither their owners nor staff can remove them, until the hold "
        "is released."
    ),
    button=_("Hold"),
    done=ngettext_lazy("%(count)d download is held.", "%(count)d downloads are held.", "count"),
    flag=CHANGE,
    applicable=DownloadQuerySet.holdable,
    act=lambda rows, form, request: store.hold(rows),
)

RELEASE: Final = BulkAction(
    name="release",
    title=_("Release downloads"),
    consequence=_(
        "Their owners can remove them again. Those that would have expired meanwhile leave the "
        "lists at once, and the next clean-up removes them."
    ),
    button=_("Release"),
    done=ngettext_lazy(
        "%(count)d download is no longer held.",
        "%(count)d downloads are no longer held.",
        "count",
    ),
    flag=CHANGE,
    applicable=DownloadQuerySet.held_back,
    act=lambda rows, form, request: store.end_hold(rows),
)

RUN_AGAIN: Final = BulkAction(
    name="run_again",
    title=_("Run downloads again"),
    consequence=_(
        "Their tasks are queued again, and their attempts are counted from the start. A worker "
        "that comes back to one of them stops. The limit on the downloads that an owner has in "
        "progress does not apply."
    ),
    button=_("Run again"),
    done=ngettext_lazy(
        "%(count)d download is queued again.", "%(count)d downloads are queued again.", "count"
    ),
    flag=CHANGE,
    applicable=DownloadQuerySet.retryable,
    act=lambda rows, form, request: store.run_again(
        rows, may_start=partial(_may_run_again, request.user)
    ),
)


def _may_run_again(user: Any, download: Download) -> bool:
    """Return whether the site permits a user to run a download again, and its task exists."""
    return permissions.may_start(user, download) and starting.can_queue(download)


def _shown_at(request: HttpRequest) -> datetime:
    """Return when the confirmation page was shown; now if it has not been shown yet."""
    now = timezone.now()
    shown = parse_moment(request.POST.get("shown_at", "")) or now
    return max(min(shown, now), now - MAX_PAGE_AGE)


def _held_text(count: int) -> str:
    """Return how many downloads stay because staff hold them."""
    text = ngettext(
        "%(count)d download is held, and stays.", "%(count)d downloads are held, and stay.", count
    )
    return text % {"count": count}


class ConfirmedActions(ModelAdminMixin):
    """Bulk actions that run once they are confirmed."""

    def response_action(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Check the selected rows.

        Raises:
            BadRequest: No list has posted these.
        """
        check_keys(self.model, request.POST.getlist(ACTION_CHECKBOX_NAME))
        return super().response_action(request, *args, **kwargs)

    def confirm_and_act(
        self,
        request: HttpRequest,
        selection: Any,
        downloads: DownloadQuerySet,
        action: BulkAction,
    ) -> HttpResponse | None:
        """Return the confirmation page, or act if the request confirms the action.

        Args:
            request: The request.
            selection: The selected rows of the list.
            downloads: The selected downloads, or those of the selected collections.
            action: The action.

        Returns:
            None after the action, or if there is nothing to do: Django shows the list again.
        """
        # Downloads requested after the page was shown were not confirmed.
        downloads = action.applicable(downloads).filter(timestamp__lte=_shown_at(request))
        held = 0
        if action.removes:
            held = downloads.held_back().count()
            downloads = downloads.removable()
        totals = store.total_by_condition(downloads)
        count = sum(total.count for total in totals)
        if refusal := self._refusal(selection, count):
            self.message_user(request, refusal, messages.WARNING)
            self._report_held(request, held)
            return None
        form = action.form(request.POST if "post" in request.POST else None)
        if form.is_valid():
            self._log(request, selection, downloads, action)
            count = action.act(downloads, form, request)
            self.finish(selection, action)
            self.message_user(request, action.done % {"count": count}, messages.SUCCESS)
            self._report_held(request, held)
            return None
        return self._page(request, selection, downloads, totals, action, form, held)

    def _report_held(self, request: HttpRequest, held: int) -> None:
        if held:
            self.message_user(request, _held_text(held), messages.WARNING)

    def finish(self, selection: Any, action: BulkAction) -> None:
        """Finish the action on the selected rows; nothing for downloads."""

    def _refusal(self, selection: Any, count: int) -> str:
        """Return why the action cannot run; an empty text if it can."""
        if count > ACTION_LIMIT or selection[: ACTION_LIMIT + 1].count() > ACTION_LIMIT:
            return gettext(
                "More than %(limit)s are too many for one request. Narrow the "
                "list with the filters, or use the command cleanup_downloads."
            ) % {"limit": grouped(ACTION_LIMIT)}
        if not count and self.model is Download:
            return gettext("Nothing to do: the selected downloads are not in a state for this.")
        return ""

    def _log(
        self, request: HttpRequest, selection: Any, downloads: Any, action: BulkAction
    ) -> None:
        """Add an entry for each row to the admin's history."""
        rows = downloads.without_long_columns() if self.model is Download else selection
        LogEntry.objects.log_actions(
            user_id=cast("int", request.user.pk),
            queryset=rows,
            action_flag=action.flag,
            change_message=str(action.title),
        )

    def _page(
        self,
        request: HttpRequest,
        selection: Any,
        downloads: DownloadQuerySet,
        totals: list[store.Total],
        action: BulkAction,
        form: forms.Form,
        held: int,
    ) -> HttpResponse:
        count = sum(total.count for total in totals)
        listed = downloads.select_related("collection__user").without_long_columns().newest_first()
        context = {
            **self.admin_site.each_context(request),
            "title": action.title,
            "opts": self.opts,
            # The list with its filters has sent the form.
            "list_url": request.get_full_path(),
            "media": self.media,
            "action": action,
            "form": form,
            "held": _held_text(held) if held else "",
            "totals": [(badge(total.condition), total) for total in totals],
            "count": count,
            "size": sum(total.size for total in totals),
            "listed": listed[:MAX_LISTED],
            "unlisted": max(0, count - MAX_LISTED),
            "collections": selection if self.model is DownloadCollection else None,
            "selected": request.POST.getlist(ACTION_CHECKBOX_NAME),
            "checkbox": ACTION_CHECKBOX_NAME,
            "across": request.POST.get("select_across", "0"),
            "shown_at": timezone.now().isoformat(),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "async_downloads/admin/confirm.html", context)


class DownloadActions(ConfirmedActions):
    """The actions of the list of downloads."""

    @admin.action(permissions=["delete"], description=_("Purge, files included"))
    def delete_selected(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        """Delete downloads in any state."""
        return self.confirm_and_act(request, queryset, queryset, PURGE)

    @admin.action(permissions=["delete"], description=_("Cancel unfinished"))
    def cancel(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        """Delete downloads that are not finished."""
        return self.confirm_and_act(request, queryset, queryset, CANCEL)

    @admin.action(permissions=["change_downloads"], description=_("Mark unfinished as failed"))
    def mark_failed(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        """Mark downloads that are not finished as failed."""
        return self.confirm_and_act(request, queryset, queryset, MARK_FAILED)

    @admin.action(permissions=["change_downloads"], description=_("Run again"))
    def run_again(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        """Build failed and stalled downloads again."""
        return self.confirm_and_act(request, queryset, queryset, RUN_AGAIN)

    @admin.action(permissions=["change_downloads"], description=_("Keep for longer"))
    def extend_expiry(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        """Extend the expiry of finished downloads."""
        return self.confirm_and_act(request, queryset, queryset, EXTEND_EXPIRY)

    @admin.action(permissions=["change_downloads"], description=_("Hold"))
    def hold(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        """Keep downloads from being removed."""
        return self.confirm_and_act(request, queryset, queryset, HOLD)

    @admin.action(permissions=["change_downloads"], description=_("Release"))
    def release(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        """End the hold on downloads."""
        return self.confirm_and_act(request, queryset, queryset, RELEASE)


class CollectionActions(ConfirmedActions):
    """The action of the list of collections."""

    @admin.action(permissions=["delete"], description=_("Purge, with all downloads and files"))
    def delete_selected(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        """Delete collections with their downloads and files."""
        downloads: Any = Download.objects.filter(collection__in=queryset.values("pk"))
        return self.confirm_and_act(request, queryset, downloads, PURGE)

    def finish(self, selection: Any, action: BulkAction) -> None:
        """Delete the collections that are still empty."""
        keys = list(selection.values_list("pk", flat=True))
        DownloadCollection.objects.filter(pk__in=keys).empty().delete()
