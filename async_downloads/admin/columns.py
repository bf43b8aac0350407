"""What is shown of one download, in the list and on its own page."""

from django.contrib import admin
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from async_downloads.models import Download, DownloadState
from async_downloads.store import STALLED

__all__ = ["NOTHING", "DownloadColumns", "badge", "live_cells"]

NOTHING = "-"


def badge(condition: str, title: str = "") -> SafeString:
    """Return a state, or that something has stalled, in words and marked by its colour."""
    markup = '<span class="async-downloads-state async-downloads-{}"{}>{}</span>'
    attribute = format_html(' title="{}"', title) if title else ""
    return format_html(markup, condition, attribute, label_of(condition))


def label_of(condition: str) -> str:
    """Return a state, or that something has stalled, in words."""
    return str(_("Stalled") if condition == STALLED else DownloadState(condition).label)


def live_cells(download: Download, *, swapped: bool = False) -> dict[str, SafeString]:
    """Return what changes of a download while one looks: its state, progress and size.

    Args:
        download: The row.
        swapped: Whether htmx is to put each in the place of what the page has.
    """
    condition = STALLED if download.stalled else download.state
    told = download.error_text or download.status_text
    size = NOTHING if download.size is None else filesizeformat(download.size)
    contents = {
        "state": badge(condition, told if told != label_of(condition) else ""),
        "progress": _progress(download),
        "size": size,
    }
    oob = format_html(' hx-swap-oob="true"') if swapped else ""
    return {
        name: format_html('<span id="{}-{}"{}>{}</span>', name, download.pk.hex, oob, content)
        for name, content in contents.items()
    }


def _progress(download: Download) -> SafeString | str:
    rows = "" if download.rows_written is None else _rows(download)
    if not download.unfinished:
        return rows or NOTHING
    bar = (
        '<progress class="async-downloads-progress" max="100" value="{0}" aria-label="{1}">'
        '</progress> <span class="async-downloads-percentage">{0} %</span>'
    )
    shown = format_html(bar, download.percentage, download.name)
    return format_html('{} <span class="quiet">{}</span>', shown, rows) if rows else shown


def _rows(download: Download) -> str:
    written, expected = download.rows_written or 0, download.rows_expected
    if expected is not None and expected != written:
        return gettext("%(written)s of %(expected)s rows") % {
            "written": number_format(written, force_grouping=True),
            "expected": number_format(expected, force_grouping=True),
        }
    return ngettext("%(count)s row", "%(count)s rows", written) % {
        "count": number_format(written, force_grouping=True)
    }


class DownloadColumns:
    """Columns of the list and fields of the page, none of which costs a query of its own."""

    @admin.display(description=_("owner"), ordering="collection__user")
    def owner(self, download: Download) -> str:
        """Who asked for it."""
        return str(download.collection)

    @admin.display(description=_("state"), ordering="state")
    def condition(self, download: Download) -> SafeString:
        """The state, with what happened as its title."""
        return live_cells(download)["state"]

    @admin.display(description=_("progress"), ordering="percentage")
    def progress(self, download: Download) -> SafeString:
        """How much is done, and of how many rows."""
        return live_cells(download)["progress"]

    @admin.display(description=_("size"), ordering="size")
    def file_size(self, download: Download) -> SafeString:
        """How large the file is."""
        return live_cells(download)["size"]

    @admin.display(description=_("age"), ordering="timestamp")
    def age(self, download: Download) -> SafeString:
        """For how long it has been there, with the time that it was asked for as its title."""
        moment = download.timestamp
        if timezone.is_aware(moment):
            moment = timezone.localtime(moment)
        return format_html(
            '<time datetime="{}" title="{}">{}</time>',
            moment.isoformat(),
            date_format(moment, "DATETIME_FORMAT"),
            timesince(download.timestamp, depth=1),
        )

    @admin.display(description=_("fetched"), ordering="fetch_count")
    def fetches(self, download: Download) -> SafeString | str:
        """How often it was fetched, and who was the last."""
        if not download.fetch_count:
            return NOTHING
        count = ngettext("%(count)d time", "%(count)d times", download.fetch_count)
        told = count % {"count": download.fetch_count}
        if download.fetched_by is None:
            return told
        last = gettext("last by %(user)s") % {"user": download.fetched_by}
        return format_html('{} <span class="quiet">{}</span>', told, last)

    @admin.display(description=_("state"))
    def status(self, download: Download) -> SafeString:
        """The state, with what happened in words beside it."""
        shown, said = live_cells(download)["state"], download.status_text
        if said == label_of(download.state):
            return shown
        return format_html('{} <span class="quiet">{}</span>', shown, said)

    @admin.display(description=_("error"))
    def error(self, download: Download) -> str:
        """What the owner is told of a failure."""
        return download.error_text or NOTHING

    @admin.display(description=_("error detail"))
    def detail(self, download: Download) -> SafeString | str:
        """What staff are told of a failure, a traceback with its lines as they are."""
        if not download.error_detail:
            return NOTHING
        return format_html(
            '<pre class="async-downloads-detail" tabindex="0">{}</pre>', download.error_detail
        )
