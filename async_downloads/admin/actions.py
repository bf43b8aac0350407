"""What staff do to the downloads that they have chosen, after a page that asks whether to."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext, ngettext_lazy
from django.utils.translation import gettext_lazy as _

from async_downloads import store
from async_downloads.admin.display import badge, grouped
from async_downloads.models import Download, DownloadCollection, DownloadQuerySet

__all__ = ["ACTION_LIMIT", "CollectionActions", "DownloadActions", "Intervention"]

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = object

#: Downloads that one request may act on: a server would end one that takes long half-way.
ACTION_LIMIT: Final = 10_000

#: Longer than a page that asks can have been on a screen.
YEARS: Final = timedelta(days=3650)

#: Names on the page that asks.
NAMED: Final = 10


class NoForm(forms.Form):
    """Nothing to fill in."""


class ExtendForm(forms.Form):
    """For how long downloads are kept."""

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

    def until(self) -> datetime:
        """Return until when."""
        return timezone.now() + timedelta(days=self.cleaned_data["days"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervention:
    """Something that is done to downloads.

    Attributes:
        name: Of the action.
        title: Of the page that asks.
        consequence: What the page says of what will happen.
        button: What is pressed.
        done: What is said afterwards, of ``count`` downloads.
        flag: What kind of entry each download gets in the admin's history.
        concerned: Which of the chosen ones there is something to do with.
        act: Does it, and returns to how many.
        form: What else the page asks.
    """

    name: str
    title: Any
    consequence: Any
    button: Any
    done: Any
    flag: int
    concerned: Callable[[DownloadQuerySet], DownloadQuerySet]
    act: Callable[[DownloadQuerySet, Any, HttpRequest], int]
    form: type[forms.Form] = NoForm

    @property
    def removes(self) -> bool:
        """Whether rows are gone afterwards."""
        return self.flag == DELETION


PURGE: Final = Intervention(
    # Named like Django's own, which reads every row, so as to take its place.
    name="delete_selected",
    title=_("Purge downloads"),
    consequence=_(
        "They are removed with their files, and leave the lists of their owners. "
        "Those in progress are cancelled."
    ),
    button=_("Purge"),
    done=ngettext_lazy(
        "%(count)d download was purged.", "%(count)d downloads were purged.", "count"
    ),
    flag=DELETION,
    concerned=DownloadQuerySet.all,
    act=lambda rows, form, request: store.purge(rows),
)

CANCEL: Final = Intervention(
    name="cancel",
    title=_("Cancel downloads"),
    consequence=_(
        "They leave the lists of their owners. A worker that is at one of them notices "
        "within seconds, stops, and removes what it has written."
    ),
    button=_("Cancel downloads"),
    done=ngettext_lazy(
        "%(count)d download was cancelled.", "%(count)d downloads were cancelled.", "count"
    ),
    flag=DELETION,
    concerned=DownloadQuerySet.unfinished,
    act=lambda rows, form, request: store.cancel(rows),
)

MARK_FAILED: Final = Intervention(
    name="mark_failed",
    title=_("Mark downloads as failed"),
    consequence=_(
        "They stay in the lists of their owners as failed. A worker that is at one of them notices "
        "within seconds, stops, and removes what it has written. As after any failure, a task "
        "that the queue delivers again may still finish one; to rule that out, cancel it."
    ),
    button=_("Mark as failed"),
    done=ngettext_lazy(
        "%(count)d download was marked as failed.",
        "%(count)d downloads were marked as failed.",
        "count",
    ),
    flag=CHANGE,
    concerned=DownloadQuerySet.unfinished,
    act=lambda rows, form, request: store.mark_failed(rows, by=request.user.get_username()),
)

EXTEND_EXPIRY: Final = Intervention(
    name="extend_expiry",
    title=_("Keep downloads for longer"),
    consequence=_(
        "They stay in the lists of their owners for so long from now. None goes away "
        "earlier than it would have."
    ),
    button=_("Keep for longer"),
    done=ngettext_lazy(
        "%(count)d download is kept for longer.",
        "%(count)d downloads are kept for longer.",
        "count",
    ),
    flag=CHANGE,
    concerned=lambda rows: rows.finished().filter(expires_at__isnull=False),
    act=lambda rows, form, request: store.extend_expiry(rows, form.until()),
    form=ExtendForm,
)


def _shown_at(request: HttpRequest) -> datetime:
    """Return when the page that asked was shown; now, for one that is yet to be."""
    now = timezone.now()
    try:
        shown = parse_datetime(request.POST.get("shown_at", "")) or now
        # Not beyond what a database can compare with.
        return max(min(shown, now), now - YEARS)
    except (TypeError, ValueError):
        # It is none, or it is of another kind than the site's.
        return now


class Asking(ModelAdmin):
    """Asks whether to intervene, and does so when the answer comes."""

    def intervene(
        self,
        request: HttpRequest,
        chosen: Any,
        downloads: DownloadQuerySet,
        intervention: Intervention,
    ) -> HttpResponse | None:
        """Answer with the page that asks; or act, if that is what was answered.

        Args:
            request: The request.
            chosen: The rows of the list that were chosen.
            downloads: The downloads that these are, or that are in them.
            intervention: What to do.

        Returns:
            None once it is done, or if there is nothing to do, to show the list again.
        """
        # What was asked for since the page was shown is none of what was confirmed.
        downloads = intervention.concerned(downloads).filter(timestamp__lte=_shown_at(request))
        totals = store.total_by_condition(downloads)
        count = sum(total.count for total in totals)
        if refusal := self._refusal(chosen, count):
            self.message_user(request, refusal, messages.WARNING)
            return None
        form = intervention.form(request.POST if "post" in request.POST else None)
        if form.is_valid():
            self._log(request, chosen, downloads, intervention)
            done = intervention.act(downloads, form, request)
            self.finish(chosen, intervention)
            told = intervention.done % {"count": done}
            self.message_user(request, told, messages.SUCCESS)
            return None
        return self._page(request, chosen, downloads, totals, intervention, form)

    def finish(self, chosen: Any, intervention: Intervention) -> None:
        """Do what is left to do with the chosen rows."""

    def _refusal(self, chosen: Any, count: int) -> str:
        """Return why nothing is done; an empty text if there is something to do."""
        if count > ACTION_LIMIT or chosen[: ACTION_LIMIT + 1].count() > ACTION_LIMIT:
            return gettext(
                "These are more than %(limit)s, too many for one request. Narrow the "
                "list with the filters, or use the command cleanup_downloads."
            ) % {"limit": grouped(ACTION_LIMIT)}
        if not count and self.model is Download:
            return gettext("There is nothing to do: no chosen download is in a state for it.")
        return ""

    def _log(
        self, request: HttpRequest, chosen: Any, downloads: Any, intervention: Intervention
    ) -> None:
        """Leave an entry for each row in the admin's history."""
        rows = downloads if self.model is Download else chosen
        LogEntry.objects.log_actions(
            user_id=cast("int", request.user.pk),
            queryset=rows.defer("error_detail") if self.model is Download else rows,
            action_flag=intervention.flag,
            change_message=str(intervention.title),
        )

    def _page(
        self,
        request: HttpRequest,
        chosen: Any,
        downloads: DownloadQuerySet,
        totals: list[store.Total],
        intervention: Intervention,
        form: forms.Form,
    ) -> HttpResponse:
        count = sum(total.count for total in totals)
        named = downloads.select_related("collection__user").defer("error_detail").newest_first()
        context = {
            **self.admin_site.each_context(request),
            "title": intervention.title,
            "opts": self.opts,
            "media": self.media,
            "intervention": intervention,
            "form": form,
            "totals": [(badge(total.condition), total) for total in totals],
            "count": count,
            "size": sum(total.size for total in totals),
            "named": named[:NAMED],
            "unnamed": max(0, count - NAMED),
            "collections": chosen if self.model is DownloadCollection else None,
            "selected": request.POST.getlist(ACTION_CHECKBOX_NAME),
            "checkbox": ACTION_CHECKBOX_NAME,
            "across": request.POST.get("select_across", "0"),
            "shown_at": timezone.now().isoformat(),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "async_downloads/admin/confirm.html", context)


class DownloadActions(Asking):
    """The actions of the list of downloads."""

    @admin.action(permissions=["delete"], description=_("Purge, files included"))
    def delete_selected(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        """Remove downloads, whatever their state."""
        return self.intervene(request, queryset, queryset, PURGE)

    @admin.action(permissions=["delete"], description=_("Cancel what is not finished"))
    def cancel(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        """Remove downloads that are not finished."""
        return self.intervene(request, queryset, queryset, CANCEL)

    @admin.action(permissions=["intervene"], description=_("Mark as failed what is not finished"))
    def mark_failed(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        """Fail downloads that are not finished."""
        return self.intervene(request, queryset, queryset, MARK_FAILED)

    @admin.action(permissions=["intervene"], description=_("Keep for longer"))
    def extend_expiry(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        """Have finished downloads expire later."""
        return self.intervene(request, queryset, queryset, EXTEND_EXPIRY)


class CollectionActions(Asking):
    """The action of the list of collections."""

    @admin.action(permissions=["delete"], description=_("Purge, with all downloads and files"))
    def delete_selected(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        """Remove collections with all that is in them."""
        downloads: Any = Download.objects.filter(collection__in=queryset.values("pk"))
        return self.intervene(request, queryset, downloads, PURGE)

    def finish(self, chosen: Any, intervention: Intervention) -> None:
        """Remove the collections, if nothing was added to them meanwhile."""
        keys = list(chosen.values_list("pk", flat=True))
        DownloadCollection.objects.filter(pk__in=keys).empty().delete()
