"""Columns of the list of downloads and fields of the page of one."""

import json
from datetime import timedelta
from typing import Any, Final

from django.contrib import admin
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.timesince import timesince, timeuntil
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from async_downloads.formats import registry
from async_downloads.models import Download, DownloadState
from async_downloads.models.labels import grouped
from async_downloads.models.lifetime import FOR_GOOD
from async_downloads.store import STALLED
from async_downloads.utils.error_text import storable

__all__ = ["NOTHING", "DownloadColumns", "badge", "live_cells"]

NOTHING: Final = "-"

MINUTE: Final = timedelta(minutes=1)

#: The condition of a complete download whose file has fewer rows than there were at the start.
TRUNCATED: Final = "truncated"

#: Characters of a reason that the list shows; the title has all.
MAX_REASON_LENGTH: Final = 100


def badge(condition: str, title: str = "") -> SafeString:
    """Return the label of a state, of ``STALLED`` or of ``TRUNCATED``, in its colour."""
    markup = (
        '<span class="async-downloads-state async-downloads-theme async-downloads-{}"{}>{}</span>'
    )
    attribute = format_html(' title="{}"', title) if title else ""
    return format_html(markup, condition, attribute, label_of(condition))


def label_of(condition: str) -> str:
    """Return the label of a state, of ``STALLED`` or of ``TRUNCATED``."""
    others = {STALLED: gettext("Stalled"), TRUNCATED: gettext("Truncated")}
    return others.get(condition) or str(DownloadState(condition).label)


def condition_of(download: Download) -> str:
    """Return what the label of a download says: its state, ``STALLED`` or ``TRUNCATED``."""
    if download.stalled:
        return STALLED
    return TRUNCATED if download.truncated else download.state


def live_cells(download: Download, *, swapped: bool = False) -> dict[str, SafeString]:
    """Return the cells that change while a page is open: state with progress, and size.

    Args:
        download: The row.
        swapped: Whether htmx replaces the page's cells by these.
    """
    condition = condition_of(download)
    title = download.error_text or download.status_text
    size = NOTHING if download.size is None else filesizeformat(download.size)
    contents = {
        "state": _lines(
            badge(condition, title if title != label_of(condition) else ""),
            _isolated(Truncator(download.error_text).chars(MAX_REASON_LENGTH)),
            _bar(download),
            _attempts(download),
            gettext("Not moving") if download.stuck else "",
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
    """Return the first text, with the others that are not empty below it."""
    markup = '<span class="async-downloads-below quiet">{}</span>'
    below = format_html_join("", markup, ((each,) for each in others if each))
    return format_html("{}{}", first, below)


def _isolated(text: str) -> SafeString | str:
    """Return a text that keeps its direction in a page of the other one; empty if there is none."""
    return format_html("<bdi>{}</bdi>", text) if text else ""


def _bar(download: Download) -> SafeString | str:
    """Return the progress, without a number if that is not known; empty if there is none."""
    is_shown = download.percentage if download.stalled else not download.waiting
    if not download.unfinished or not is_shown:
        return ""
    markup = '<progress class="async-downloads-progress" max="100"{} aria-label="{}"></progress>{}'
    if not download.percentage:
        return format_html(markup, "", download.name, "")
    value = format_html(' value="{}"', download.percentage)
    percentage = gettext("%(number)s%%") % {"number": download.percentage}
    return format_html(markup, value, download.name, f" {percentage}")


def _attempts(download: Download) -> str:
    """Return the number of attempts; an empty text if there was only one."""
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
    if download.held:
        return gettext("held")
    if download.unfinished:
        # An unfinished download fails before it could expire.
        return ""
    if expires is None:
        return gettext("never expires")
    if expires <= timezone.now():
        return gettext("expired")
    return gettext("%(time)s left") % {"time": timeuntil(expires, depth=1)}


def _indented(value: object) -> str:
    """Return a JSON value as text, on several lines if it has parts."""
    # A lone surrogate cannot be sent in a page.
    return storable(json.dumps(value, indent=2, ensure_ascii=False))


def _preformatted(text: str) -> SafeString:
    return format_html('<pre class="async-downloads-detail" tabindex="0">{}</pre>', text)


class DownloadColumns:
    """Columns and fields that need no further query."""

    @admin.display(description=_("owner"), ordering="collection__user")
    def owner(self, download: Download) -> SafeString:
        """The owner."""
        return format_html('<span title="{0}" dir="auto">{0}</span>', download.collection)

    @admin.display(description=_("state"), ordering="state")
    def condition(self, download: Download) -> SafeString:
        """The state, with its explanation as the title and its progress below."""
        return live_cells(download)["state"]

    @admin.display(description=_("size"), ordering="size")
    def file_size(self, download: Download) -> SafeString:
        """The file's size, with the number of rows below."""
        return live_cells(download)["size"]

    @admin.display(description=_("age"), ordering="timestamp")
    def age(self, download: Download) -> SafeString:
        """The time since the request, with the expiry below."""
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

    @admin.display(description=_("lifetime"))
    def kept_for(self, download: Download) -> str:
        """The time from its end to its expiry."""
        if download.lifetime is None:
            return gettext("the default of the site")
        if download.lifetime == FOR_GOOD:
            return gettext("until it is cleared")
        return timesince(download.timestamp, download.timestamp + download.lifetime)

    @admin.display(description=_("fetched"), ordering="fetch_count")
    def fetches(self, download: Download) -> SafeString | str:
        """The number of fetches, with the last person below."""
        if not download.fetch_count:
            return NOTHING
        count = ngettext("%(count)d time", "%(count)d times", download.fetch_count)
        times = count % {"count": download.fetch_count}
        if download.fetched_by is None:
            return times
        last = gettext("last by %(user)s") % {"user": download.fetched_by}
        markup = '<span title="{}" dir="auto">{}</span>'
        return _lines(times, format_html(markup, last, download.fetched_by))

    @admin.display(description=_("file name"))
    def file_name(self, download: Download) -> SafeString:
        """The file name, with a warning if its extension seems to be misspelt."""
        meant = "" if download.rows_written is None else registry.meant_by(download.filename)
        warning = gettext("Unknown extension, so the rows are CSV. Did you mean %(meant)s?")
        return _lines(download.filename, meant and warning % {"meant": meant})

    @admin.display(description=_("state"))
    def status(self, download: Download) -> SafeString:
        """The state, with its explanation."""
        state, text = live_cells(download)["state"], download.status_text
        return state if text == label_of(download.state) else _lines(state, text)

    @admin.display(description=_("error"))
    def error(self, download: Download) -> str:
        """The error message that the owner sees."""
        return _isolated(download.error_text) or NOTHING

    @admin.display(description=_("task"))
    def task_path(self, download: Download) -> str:
        """The dotted path of the task that builds it."""
        return download.task or NOTHING

    @admin.display(description=_("arguments"))
    def task_arguments(self, download: Download) -> SafeString | str:
        """The arguments of the task after the download key, one below the other."""
        call = download.call
        if call is None or not (call.args or call.kwargs):
            return NOTHING
        named = [f"{name}={_indented(value)}" for name, value in call.kwargs.items()]
        return _preformatted("\n".join([*map(_indented, call.args), *named]))

    @admin.display(description=_("error detail"))
    def detail(self, download: Download) -> SafeString | str:
        """The error detail for staff, with the lines of a traceback kept."""
        return _preformatted(download.error_detail) if download.error_detail else NOTHING
