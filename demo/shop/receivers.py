"""An e-mail to the owner when a download that took long is complete."""

from datetime import timedelta
from typing import Any, Final

from async_downloads.models import Download
from async_downloads.signals import download_completed

__all__ = ["connect"]

#: A person who waited for less is probably still on the page.
LONG: Final = timedelta(seconds=15)


def connect() -> None:
    """Connect the receivers of this module."""
    download_completed.connect(mail_owner, dispatch_uid="shop.mail_owner")


def mail_owner(download: Download, **kwargs: Any) -> None:
    """Send the e-mail, unless the download was quick."""
    owner = download.collection.user
    if owner and download.finished_at and download.finished_at - download.timestamp >= LONG:
        owner.email_user(f"{download.name} is ready", "You find it under Downloads.")
