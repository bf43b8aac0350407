"""The receivers of signals: of deleted rows, of changed downloads, of migrations."""

from typing import Any

from django.apps import AppConfig
from django.core.signals import setting_changed
from django.db.models.signals import post_delete, post_migrate, pre_delete

from async_downloads import store
from async_downloads.centre import item_cache, push
from async_downloads.executors import django_q_schedule
from async_downloads.models import Download
from async_downloads.signals import download_changed

__all__ = ["connect"]


def connect(app_config: AppConfig) -> None:
    """Connect all receivers, when the app is ready."""
    pre_delete.connect(read_whole, sender=Download)
    post_delete.connect(discard_deleted, sender=Download)
    download_changed.connect(push_hint)
    setting_changed.connect(item_cache.forget)
    post_migrate.connect(install_schedules, sender=app_config)


def read_whole(instance: Download, **_: Any) -> None:
    """Load the deferred columns of a row before its deletion, for the receivers after it."""
    if deferred := instance.get_deferred_fields():
        instance.refresh_from_db(fields=list(deferred))


def discard_deleted(instance: Download, using: str, **_: Any) -> None:
    """Delete the file of a deleted row, whichever code deleted the row."""
    store.discard(instance, using=using)


def push_hint(user_id: Any, **_: Any) -> None:
    """Push the change to the owner's open pages."""
    if user_id is not None:
        push.hint(user_id)


def install_schedules(using: str, **_: Any) -> None:
    """Schedule the periodic clean-up, from the first migrate on."""
    django_q_schedule.install(using)
