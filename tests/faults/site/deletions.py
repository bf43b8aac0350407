"""Every way of deleting a download, for a test that runs each in a child process."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.db import transaction
from django.test import Client
from django.utils import timezone

from async_downloads import cache, store, tasks
from async_downloads.models import Download, DownloadCollection

User: Any = get_user_model()

#: Ways of deleting a download that its owner can see.
deletions: dict[str, Callable[[str], object]] = {}

#: Ways of deleting an expired download; they delete the file first.
cleanups: dict[str, Callable[[str], object]] = {}


class RollbackError(Exception):
    """Rolls a transaction back."""


def way(function: Callable[[str], object]) -> Callable[[str], object]:
    """Register a way of deleting, which gets the download key."""
    deletions[function.__name__] = function
    return function


def cleanup(function: Callable[[str], object]) -> Callable[[str], object]:
    """Register a way of cleaning up, which gets the download key."""
    cleanups[function.__name__] = function
    return function


def as_admin(path: str, **data: Any) -> None:
    """Post to the admin."""
    client = Client()
    client.force_login(User.objects.get(username="root"))
    response = client.post(f"/admin/{path}", data)
    assert response.status_code == 302, response


@way
def instance(key: str) -> None:
    """Delete by the method of the instance."""
    Download.objects.get(pk=key).delete()


@way
def queryset(key: str) -> None:
    """Delete by a filtered query."""
    Download.objects.filter(name="orders.csv").delete()


@way
def related_manager(key: str) -> None:
    """Delete by the related manager of the collection."""
    DownloadCollection.objects.get(downloads=key).downloads.all().delete()


@way
def collection_instance(key: str) -> None:
    """Delete by a cascade from the collection."""
    DownloadCollection.objects.get(downloads=key).delete()


@way
def collection_queryset(key: str) -> None:
    """Delete by a cascade from collections."""
    DownloadCollection.objects.filter(downloads=key).delete()


@way
def user_instance(key: str) -> None:
    """Delete by a cascade from the user."""
    User.objects.get(username="ada").delete()


@way
def user_queryset(key: str) -> None:
    """Delete by a cascade from users."""
    User.objects.filter(username="ada").delete()


@way
def purge(key: str) -> None:
    """Delete by the function that the admin uses."""
    store.purge(Download.objects.filter(pk=key))


@way
def clear_view(key: str) -> None:
    """Delete by the view that the owner uses."""
    client = Client()
    client.force_login(User.objects.get(username="ada"))
    response = client.post("/async_downloads/ajax_clear_download/", {"download_key": key})
    assert response.status_code == 200, response


@way
def admin_action(key: str) -> None:
    """Delete by the bulk action of the admin."""
    as_admin(
        "async_downloads/download/", action="delete_selected", _selected_action=key, post="yes"
    )


@way
def admin_page(key: str) -> None:
    """Delete by the confirmation page of the admin."""
    as_admin(f"async_downloads/download/{key}/delete/", post="yes")


@way
def admin_action_on_collections(key: str) -> None:
    """Delete the collection by the bulk action of the admin."""
    pk = DownloadCollection.objects.get(downloads=key).pk
    as_admin(
        "async_downloads/downloadcollection/",
        action="delete_selected",
        _selected_action=pk,
        post="yes",
    )


@way
def admin_page_of_the_user(key: str) -> None:
    """Delete the owner by the confirmation page of the admin."""
    as_admin(f"auth/user/{User.objects.get(username='ada').pk}/delete/", post="yes")


@cleanup
def command(key: str) -> None:
    """Clean up by the command."""
    call_command("cleanup_downloads", verbosity=0)


@cleanup
def scheduled(key: str) -> None:
    """Clean up by the task of the schedule."""
    tasks.cleanup_expired_downloads()


@cleanup
def of_one_collection(key: str) -> None:
    """Clean up by the function for one collection."""
    cache.cleanup_collection(DownloadCollection.objects.get(downloads=key).key)


def make(*, expired: bool) -> Download:
    """Make a complete download, expired if requested."""
    user, _ = User.objects.get_or_create(username="ada")
    _, key = cache.init_download(user, "orders.csv")
    cache.save_download(key, [["id"], [1]])
    if expired:
        Download.objects.update(expires_at=timezone.now() - timedelta(hours=1))
    return Download.objects.get(pk=key)


def try_all() -> None:
    """Print what each way leaves: after a commit, inside the transaction, after a rollback."""
    User.objects.create_superuser("root")
    ways = deletions | cleanups
    states = {name: left_by(way, expired=name in cleanups) for name, way in ways.items()}
    print(json.dumps(states))  # noqa: T201 (the test reads it)


def left_by(delete: Callable[[str], object], *, expired: bool) -> dict[str, object]:
    """Delete in one way, and return whether file and row exist, at each moment."""
    download = make(expired=expired)
    states: dict[str, object] = {}

    def note(moment: str) -> None:
        states[moment] = default_storage.exists(download.filepath), Download.objects.exists()

    if not expired:
        try:
            with transaction.atomic():
                delete(download.download_key)
                note("inside")
                raise RollbackError
        except RollbackError:
            note("rolled back")
    with transaction.atomic():
        delete(download.download_key)
        note("inside again")
    note("committed")
    without_file = make(expired=expired)
    default_storage.delete(without_file.filepath)
    delete(without_file.download_key)
    states["without a file"] = Download.objects.exists()
    return states
