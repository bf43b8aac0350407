"""Who listens: to deleted rows, to changed downloads, to migrations."""

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
    """Connect everything; called once, when the app is ready."""
    pre_delete.connect(read_whole, sender=Download)
    post_delete.connect(discard_deleted, sender=Download)
    download_changed.connect(push_hint)
    setting_changed.connect(item_cache.forget)
    post_migrate.connect(install_schedules, sender=app_config)


def read_whole(instance: Download, **_: Any) -> None:
    """Have all of a row at hand when it is gone, also if it was read in part."""
    if deferred := instance.get_deferred_fields():
        instance.refresh_from_db(fields=list(deferred))


def discard_deleted(instance: Download, using: str, **_: Any) -> None:
    """Let the file of a deleted row go with it, whoever deleted the row."""
    store.discard(instance, using=using)


def push_hint(user_id: Any, **_: Any) -> None:
    """Tell the owner's open pages."""
    if user_id is not None:
        push.hint(user_id)


def install_schedules(using: str, **_: Any) -> None:
    """Have the clean-up run periodically, from the first migrate on."""
    django_q_schedule.install(using)
