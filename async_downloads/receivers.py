"""The receivers of signals: of deleted rows, of changed downloads, of migrations."""

from collections.abc import Iterator
from typing import Any

from django.apps import AppConfig, apps
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_out
from django.core.signals import setting_changed
from django.db.models.signals import post_delete, post_migrate, post_save, pre_delete

from async_downloads import mail, metrics, store
from async_downloads.centre import item_cache, push
from async_downloads.executors import django_q_schedule, starting
from async_downloads.models import Download
from async_downloads.owners import Owner
from async_downloads.signals import download_changed, download_completed, download_requeued

__all__ = ["connect"]


def connect(app_config: AppConfig) -> None:
    """Connect all receivers, when the app is ready."""
    for model in _proxies_of(Download):
        pre_delete.connect(read_whole, sender=model)
        post_delete.connect(discard_deleted, sender=model)
    # Before the hint, after which sockets read the summary.
    download_changed.connect(renew_summary)
    download_changed.connect(push_hint)
    download_requeued.connect(queue_again)
    download_completed.connect(mail_the_owner)
    user_logged_out.connect(push_signed_out)
    for model in _family_of(get_user_model()):
        for signal in (post_save, post_delete):
            signal.connect(push_user_change, sender=model)
    setting_changed.connect(item_cache.forget)
    post_migrate.connect(install_schedules, sender=app_config)
    metrics.connect()


def _proxies_of(model: Any) -> Iterator[Any]:
    """Yield a model and its proxy models, each of which is the sender of its own signals."""
    return (each for each in apps.get_models() if each._meta.concrete_model is model)


def _family_of(model: Any) -> Iterator[Any]:
    """Yield a model and those that inherit from it, or that it inherits from.

    Whichever of them is saved, its columns may change, and no other one is the sender.
    """
    return (
        each for each in apps.get_models() if issubclass(each, model) or issubclass(model, each)
    )


def read_whole(instance: Download, **_: Any) -> None:
    """Load the deferred columns of a row before its deletion, for the receivers after it."""
    if deferred := instance.get_deferred_fields():
        instance.refresh_from_db(fields=list(deferred))


def discard_deleted(instance: Download, using: str, **_: Any) -> None:
    """Delete the file of a deleted row, whichever code deleted the row."""
    store.discard(instance, using=using)


def renew_summary(user_id: Any, **_: Any) -> None:
    """Keep the summary after the change, for the owner's open pages."""
    if user_id is not None:
        store.renew_summary(Owner(user_id, ""))


def push_hint(user_id: Any, collection_key: str, **_: Any) -> None:
    """Push the change to the open pages of the owner, or of a team."""
    if user_id is not None:
        push.hint(user_id)
    else:
        push.hint_team(collection_key)


def push_signed_out(user: Any, **_: Any) -> None:
    """Let the user's open sockets check their sessions, after one of them has ended."""
    if user is not None:
        store.after_commit(lambda: push.hint(user.pk, push.SIGNED_OUT))


def push_user_change(
    instance: Any, using: str, update_fields: Any = None, created: bool = False, **_: Any
) -> None:
    """Let the user's open sockets check their sessions, after the user has changed.

    The user may have a new password, be deactivated or deleted. A sign-in changes nothing else
    than the date of the last one.
    """
    if not created and set(update_fields or ()) != {"last_login"}:
        pk = instance.pk
        store.after_commit(lambda: push.hint(pk, push.SIGNED_OUT), using=using)


def queue_again(download: Download, **_: Any) -> None:
    """Queue the task of a download that waits for another attempt."""
    starting.queue_again(download)


def mail_the_owner(download: Download, **_: Any) -> None:
    """Mail the owner of a download that took long."""
    mail.send(download)


def install_schedules(using: str, **_: Any) -> None:
    """Schedule the periodic jobs, from the first migrate on."""
    django_q_schedule.install(using)
