"""What is shown of one download, in the list and on its own page."""

from datetime import timedelta
from typing import Any, Final

from django.contrib import admin
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timesince import timesince, timeuntil
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from async_downloads.formats import registry
from async_downloads.models import Download, DownloadState
from async_downloads.store import STALLED

__all__ = ["NOTHING", "DownloadColumns", "badge", "grouped", "live_cells"]

NOTHING: Final = "-"

MINUTE: Final = timedelta(minutes=1)


def badge(condition: str, title: str = "") -> SafeString:
    """Return a state, or that something has stalled, in words and marked by its colour."""
    markup = '<span class="async-downloads-state async-downloads-{}"{}>{}</span>'
    attribute = format_html(' title="{}"', title) if title else ""
    return format_html(markup, condition, attribute, label_of(condition))


def label_of(condition: str) -> str:
    """Return a state, or that something has stalled, in words."""
    return str(_("Stalled") if condition == STALLED else DownloadState(condition).label)


def grouped(number: int) -> str:
    """Return a number that may be large, as people read it."""
    return number_format(number, force_grouping=True)


def live_cells(download: Download, *, swapped: bool = False) -> dict[str, SafeString]:
    """Return what changes of a download while one looks: its state with progress, and its size.

    Args:
        download: The row.
        swapped: Whether htmx is to put each in the place of what the page has.
    """
    condition = STALLED if download.stalled else download.state
    told = download.error_text or download.status_text
    size = NOTHING if download.size is None else filesizeformat(download.size)
    contents = {
        "state": _lines(
            badge(condition, told if told != label_of(condition) else ""),
            _bar(download) if download.unfinished else "",
            _attempts(download),
        ),
        "size": _lines(size, _rows(download)),
    }
    markup = '<span id="{}-{}">{}</span>'
    if swapped:
        markup = '<span id="{}-{}" hx-swap-oob="true">{}</span>'
    return {
        name: format_html(markup, name, download.pk.hex, content)
        for name, content in contents.items()
    }


def _lines(first: Any, *others: Any) -> SafeString:
    """Return the first text, with those of the others that say something below it."""
    markup = '<span class="async-downloads-below quiet">{}</span>'
    below = format_html_join("", markup, ((each,) for each in others if each))
    return format_html("{}{}", first, below)


def _bar(download: Download) -> SafeString:
    return format_html(
        '<progress class="async-downloads-progress" max="100" value="{0}" aria-label="{1}">'
        "</progress> {0} %",
        download.percentage,
        download.name,
    )


def _attempts(download: Download) -> str:
    """Return how often it was tried, where once was not enough."""
    if download.attempts < 2:
        return ""
    counted = ngettext("%(count)d attempt", "%(count)d attempts", download.attempts)
    return counted % {"count": download.attempts}


def _rows(download: Download) -> str:
    written, expected = download.rows_written, download.rows_expected
    if written is None:
        return ""
    if expected is not None and expected != written:
        return gettext("%(written)s of %(expected)s rows") % {
            "written": grouped(written),
            "expected": grouped(expected),
        }
    return ngettext("%(count)s row", "%(count)s rows", written) % {"count": grouped(written)}


def _expiry(download: Download) -> str:
    expires = download.expires_at
    if download.unfinished:
        # It does not expire: it fails first.
        return ""
    if expires is None:
        return gettext("never expires")
    if expires <= timezone.now():
        return gettext("expired")
    return gettext("%(time)s left") % {"time": timeuntil(expires, depth=1)}


class DownloadColumns:
    """Columns of the list and fields of the page, none of which costs a query of its own."""

    @admin.display(description=_("owner"), ordering="collection__user")
    def owner(self, download: Download) -> SafeString:
        """Who asked for it."""
        return format_html('<span title="{0}">{0}</span>', download.collection)

    @admin.display(description=_("state"), ordering="state")
    def condition(self, download: Download) -> SafeString:
        """The state, with what happened as its title, and how much is done below it."""
        return live_cells(download)["state"]

    @admin.display(description=_("size"), ordering="size")
    def file_size(self, download: Download) -> SafeString:
        """How large the file is, with its rows below."""
        return live_cells(download)["size"]

    @admin.display(description=_("age"), ordering="timestamp")
    def age(self, download: Download) -> SafeString:
        """For how long it has been there, with when it goes away below."""
        moment = download.timestamp
        if timezone.is_aware(moment):
            moment = timezone.localtime(moment)
        age = timezone.now() - download.timestamp
        shown = format_html(
            '<time datetime="{}" title="{}">{}</time>',
            moment.isoformat(),
            date_format(moment, "DATETIME_FORMAT"),
            timesince(download.timestamp, depth=1) if age >= MINUTE else gettext("just now"),
        )
        return _lines(shown, _expiry(download))

    @admin.display(description=_("fetched"), ordering="fetch_count")
    def fetches(self, download: Download) -> SafeString | str:
        """How often it was fetched, with who was the last below."""
        if not download.fetch_count:
            return NOTHING
        count = ngettext("%(count)d time", "%(count)d times", download.fetch_count)
        told = count % {"count": download.fetch_count}
        if download.fetched_by is None:
            return told
        last = gettext("last by %(user)s") % {"user": download.fetched_by}
        return _lines(told, format_html('<span title="{}">{}</span>', last, download.fetched_by))

    @admin.display(description=_("file name"))
    def file_name(self, download: Download) -> SafeString:
        """The name to save it under, with a warning where the extension seems to be misspelt."""
        meant = "" if download.rows_written is None else registry.meant_by(download.filename)
        warning = gettext("This extension means no format: the rows are CSV. Is %(meant)s meant?")
        return _lines(download.filename, meant and warning % {"meant": meant})

    @admin.display(description=_("state"))
    def status(self, download: Download) -> SafeString:
        """The state, with what happened in words beside it."""
        shown, said = live_cells(download)["state"], download.status_text
        if said == label_of(download.state):
            return shown
        return _lines(shown, said)

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
