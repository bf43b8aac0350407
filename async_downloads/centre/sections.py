"""The sections of the page of all downloads: in progress, ready, failed."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.translation import gettext, pgettext

from async_downloads.models import Download
from async_downloads.store import PageListing

__all__ = ["Section", "sections_of"]


@dataclass(frozen=True, slots=True)
class Section:
    """Downloads of one page that are in the same stage.

    Attributes:
        name: The stage.
        title: Its title, for people.
        count: How many there are on all pages.
        downloads: Those of this page.
    """

    name: str
    title: str
    count: int
    downloads: Sequence[Download]


def sections_of(page_listing: PageListing) -> list[Section]:
    """Return the sections of one page that are not empty, in their order."""
    titles = {
        "unfinished": gettext("In progress"),
        # Of several downloads, in languages where that is another word.
        "complete": pgettext("downloads", "Ready"),
        "failed": pgettext("downloads", "Failed"),
    }
    by_stage: dict[str, list[Download]] = {name: [] for name in titles}
    for download in page_listing.listing.downloads:
        by_stage[download.stage].append(download)
    return [
        Section(name, titles[name], max(page_listing.counts[name], len(downloads)), downloads)
        for name, downloads in by_stage.items()
        if downloads
    ]
