"""Permissions of every URL and every message of a socket, in one table.

A row has the status codes of the allowed methods for each of ``PEOPLE``, in their order. Any
other method is 405. The row also says what a POST may change; other methods change nothing.
A URL or a message without a row fails.
"""

import inspect
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import pytest
from asgiref.sync import sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from django.contrib import admin
from django.contrib.auth.models import AnonymousUser, Permission
from django.db import connections, transaction
from django.middleware.csrf import get_token
from django.test import Client, RequestFactory
from django.urls import URLPattern, reverse

from async_downloads import urls
from async_downloads.centre import push
from async_downloads.intervals import SOCKET_MINIMUM
from async_downloads.models import Download, DownloadCollection
from async_downloads.routing import websocket_urlpatterns
from async_downloads.ws_consumers import DownloadsConsumer
from tests.attempts import long_ago
from tests.factories import DownloadCollectionFactory, DownloadFactory, UserFactory
from tests.recorded_calls import download
from tests.shop.models import Order
from tests.sockets import Socket, communicator

pytestmark = pytest.mark.any_database

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

#: Staff without permissions may enter the admin; staff with them may see and purge downloads.
PEOPLE: Final = ("anonymous", "other", "staff", "staff with it", "owner")

NAME: Final = "Quarterly orders"


@dataclass(frozen=True)
class Row:
    """The expected responses of a URL.

    Attributes:
        answers: By method, the status for each of ``PEOPLE``.
        key: The argument of the URL: the row's primary key, or a text.
        data: The data of a POST.
        removes: The people whose POST deletes the download.
        query: The query string of the URL.
        adds: The people whose POST requests another download.
        keeps: The people whose POST keeps the download for longer.
        else_: The status for each of ``PEOPLE`` for any other method.
    """

    answers: dict[str, tuple[int, int, int, int, int]]
    key: Callable[[Download], list[Any]] = lambda download: []
    data: Callable[[Download], dict[str, Any]] = lambda download: {}
    removes: tuple[str, ...] = ()
    query: str = ""
    adds: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()
    else_: tuple[int, int, int, int, int] = (405, 405, 405, 405, 405)


def by_key(download: Download) -> list[Any]:
    return [download.pk]


def of_collection(download: Download) -> list[Any]:
    return [download.collection_id]


def confirmed(download: Download) -> dict[str, Any]:
    return {"post": "yes"}


def selected(pk: Callable[[Download], list[Any]]) -> Callable[[Download], dict[str, Any]]:
    return lambda download: {
        "action": "delete_selected",
        "_selected_action": [str(key) for key in pk(download)],
        "post": "yes",
    }


#: The URLs for users and their own downloads.
FOR_USERS: Final = {
    "ajax_update": Row({"GET": (302, 200, 200, 200, 200)}),
    "ajax_clear_download": Row(
        {"POST": (302, 404, 404, 404, 200)},
        data=lambda download: {"download_key": str(download.pk)},
        removes=("owner",),
    ),
    "clear_finished": Row({"POST": (302, 302, 302, 302, 302)}, removes=("owner",)),
    "retry": Row(
        {"POST": (302, 404, 404, 404, 200)},
        data=lambda download: {"download_key": str(download.pk)},
        adds=("owner",),
    ),
    "keep": Row(
        {"POST": (302, 404, 404, 404, 200)},
        data=lambda download: {"download_key": str(download.pk)},
        keeps=("owner",),
    ),
    "download": Row(
        {"GET": (302, 404, 404, 200, 200), "HEAD": (302, 404, 404, 200, 200)}, key=by_key
    ),
    "detail": Row(
        {"GET": (401, 404, 404, 404, 200), "HEAD": (401, 404, 404, 404, 200)}, key=by_key
    ),
    "openapi": Row({"GET": (200, 200, 200, 200, 200), "HEAD": (200, 200, 200, 200, 200)}),
    "download_list": Row({"GET": (302, 200, 200, 200, 200), "HEAD": (302, 200, 200, 200, 200)}),
    "script": Row(
        {"GET": (200, 200, 200, 200, 200), "HEAD": (200, 200, 200, 200, 200)},
        key=lambda download: ["htmx-2.min.js"],
    ),
}

#: The admin treats any other method like GET, and changes nothing.
LOOK: Final = (302, 302, 403, 200, 302)
NEVER: Final = (302, 302, 403, 403, 302)
PURGE: Final = (302, 302, 403, 302, 302)

#: The URLs of the admin for each of the two models.
ADMIN: Final = {
    "changelist": lambda pk: Row(
        {"POST": PURGE}, data=selected(pk), removes=("staff with it",), else_=LOOK
    ),
    "add": lambda pk: Row({}, else_=NEVER),
    "history": lambda pk: Row({}, key=pk, else_=LOOK),
    "delete": lambda pk: Row(
        {"POST": PURGE}, key=pk, data=confirmed, removes=("staff with it",), else_=LOOK
    ),
    "change": lambda pk: Row({"POST": NEVER}, key=pk, else_=LOOK),
}

#: The URLs that the pages of downloads in the admin poll.
LIVE: Final = (302, 302, 403, 200, 302)
NO_WAY: Final = (302, 302, 405, 405, 302)


def polled(query: str = "") -> Row:
    return Row({"GET": LIVE, "HEAD": LIVE}, query=query, else_=NO_WAY)


LIVE_VIEWS: Final = {"summary": polled(), "progress": polled(f"keys={uuid.UUID(int=0)}")}

CHOICES: Final = {"format": "csv", "encoding": "utf-8", "columns": ["reference"]}

#: The URL of exports: staff who may see a list may export it.
EXPORTS: Final = {
    "export_in_background": Row(
        {"POST": PURGE}, data=lambda download: CHOICES, adds=("staff with it",), else_=LOOK
    ),
}

TABLE: Final = {
    **{f"async_downloads:{name}": row for name, row in FOR_USERS.items()},
    **{
        f"admin:async_downloads_{model._meta.model_name}_{name}": row(key)
        for model, key in ((Download, by_key), (DownloadCollection, of_collection))
        for name, row in ADMIN.items()
    },
    **{f"admin:async_downloads_download_{name}": row for name, row in LIVE_VIEWS.items()},
    **{f"admin:shop_order_{name}": row for name, row in EXPORTS.items()},
}

#: URLs without a name: a redirect of Django's for addresses of the admin before version 1.9.
UNNAMED_IN_ADMIN: Final = 1


def test_each_url_has_a_row() -> None:
    named_urls = [pattern.name for pattern in urls.urlpatterns]
    assert None not in named_urls
    named, unnamed = set(), []
    for model in (Download, DownloadCollection):
        for pattern in admin.site.get_model_admin(model).get_urls():
            assert isinstance(pattern, URLPattern)
            (named.add if pattern.name else unnamed.append)(pattern.name)  # type: ignore[func-returns-value, attr-defined]
    assert len(unnamed) == 2 * UNNAMED_IN_ADMIN
    with_exports = {pattern.name for pattern in admin.site.get_model_admin(Order).get_urls()}
    without = {pattern.name for pattern in admin.ModelAdmin(Order, admin.site).get_urls()}
    named |= with_exports - without
    assert set(TABLE) == {
        *(f"async_downloads:{name}" for name in named_urls),
        *(f"admin:{name}" for name in named),
    }


def person_of(who: str, owner: Any) -> Any:
    """Return one of ``PEOPLE``."""
    if who == "anonymous":
        return AnonymousUser()
    if who == "owner":
        return owner
    person = UserFactory(is_staff=who.startswith("staff"))
    if who == "staff with it":
        codes = [f"{verb}_download" for verb in ("view", "delete", "change", "fetch")]
        codes += ["view_downloadcollection", "delete_downloadcollection", "view_order"]
        person.user_permissions.set(Permission.objects.filter(codename__in=codes))
    return person


def client_of(user: Any, **options: Any) -> Client:
    client = Client(**options)
    if user.is_authenticated:
        client.force_login(user)
    return client


@contextmanager
def rolled_back() -> Iterator[None]:
    """Roll back the writes of the block."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def state() -> list[Any]:
    """Return all rows of the app, without the columns of fetches and of what was seen."""
    fetches = {field.attname for field in Download._meta.fields if field.name.startswith("fetch")}
    columns = [field.attname for field in Download._meta.fields if field.attname not in fetches]
    collections = DownloadCollection.objects.values("pk", "user", "label", "key", "created_at")
    return [list(Download.objects.values(*columns)), list(collections)]


@pytest.mark.django_db
@pytest.mark.parametrize("who", PEOPLE)
@pytest.mark.parametrize("name", TABLE)
def test_each_url_has_the_expected_permissions(
    name: str, who: str, user: Any, settings: Any
) -> None:
    settings.ASYNC_DOWNLOADS_MAX_LIFETIME = 7 * 24 * 60 * 60
    row = TABLE[name]
    mine = download(user, complete=True, name=NAME)
    client = client_of(person_of(who, user))
    url = f"{reverse(name, args=row.key(mine))}?{row.query}"
    before = state()
    answers = {}
    for method in METHODS:
        data = row.data(mine) if method == "POST" else None
        with rolled_back():
            response = getattr(client, method.lower())(url, data)
            answers[method] = response.status_code
            shown = b"".join(response) if response.streaming else response.content
            removed = method == "POST" and who in row.removes
            assert Download.objects.filter(pk=mine.pk).exists() is not removed, method
            added = method == "POST" and who in row.adds
            kept = method == "POST" and who in row.keeps
            assert removed or (state() == before) is not (added or kept), method
            assert Download.objects.count() == 1 - removed + added, method
        if who not in ("owner", "staff with it"):
            assert NAME.encode() not in shown, method
            assert mine.filename.encode() not in shown, method
    column = PEOPLE.index(who)
    assert answers == {method: row.answers.get(method, row.else_)[column] for method in METHODS}


#: The bulk actions of the admin, and the permission that each needs besides viewing.
ACTIONS: Final = {
    (Download, "delete_selected"): "delete_download",
    (Download, "cancel"): "delete_download",
    (Download, "mark_failed"): "change_download",
    (Download, "run_again"): "change_download",
    (Download, "extend_expiry"): "change_download",
    (Download, "hold"): "change_download",
    (Download, "release"): "change_download",
    (DownloadCollection, "delete_selected"): "delete_downloadcollection",
}


#: Staff who may view, and have no other permission, every unneeded one, or only the needed one.
STAFF: Final = ("staff who may view", "staff with another", "staff with only that")


def test_each_action_of_the_admin_has_a_row() -> None:
    for model in (Download, DownloadCollection):
        actions = admin.site.get_model_admin(model).actions
        assert {(model, name) for name in actions or ()} == {
            row for row in ACTIONS if row[0] is model
        }


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("who", [*PEOPLE, *STAFF])
@pytest.mark.parametrize("row", ACTIONS, ids=str)
def test_each_bulk_action_has_the_expected_permissions(
    row: tuple[Any, str], who: str, user: Any
) -> None:
    model, action = row
    waiting = DownloadFactory(collection__user=user)
    finished = DownloadFactory(collection__user=user, complete=True)
    failed = download(user, failed=True)
    held = DownloadFactory(collection__user=user, failed=True, held=True)
    rows = [waiting, finished, failed, held] if model is Download else [waiting.collection]
    person = person_of(who, user)
    if who in STAFF:
        needed = {ACTIONS[row]}
        own = {"staff with another": {*ACTIONS.values()} - needed, "staff with only that": needed}
        codes = {f"view_{model._meta.model_name}", *own.get(who, ())}
        person.user_permissions.set(Permission.objects.filter(codename__in=codes))
    before = state()
    data = {
        "action": action,
        "_selected_action": [str(each.pk) for each in rows],
        "post": "yes",
        "days": "30",
    }
    url = reverse(f"admin:async_downloads_{model._meta.model_name}_changelist")
    client_of(person).post(url, data)
    assert (state() != before) is (who in ("staff with it", "staff with only that"))


#: The states in which a download with a recorded call may be built again, or is in progress.
STATES: Final[dict[str, dict[str, Any]]] = {
    "failed": {"failed": True},
    "complete": {"complete": True},
    "stalled": {"running": True, "heard_at": long_ago()},
    "waiting": {},
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("state_name", STATES)
@pytest.mark.parametrize("who", PEOPLE)
def test_only_the_owner_lets_a_download_be_built_again(
    who: str, state_name: str, user: Any
) -> None:
    row = download(user, **STATES[state_name])
    client = client_of(person_of(who, user))
    url = reverse("async_downloads:retry")
    before = state()
    own = who == "owner"
    answers = [client.post(url, {"download_key": key}) for key in (row.pk, uuid.uuid4())]
    assert answers[0].status_code == (302 if who == "anonymous" else 200 if own else 404)
    assert own or answers[0].content == answers[1].content
    assert (state() != before) is (own and state_name != "waiting")


@pytest.mark.django_db
@pytest.mark.parametrize("who", ["other", "staff", "staff with it"])
@pytest.mark.parametrize("method", METHODS)
def test_downloads_of_others_are_answered_like_unknown_ones(
    method: str, who: str, user: Any
) -> None:
    foreign = DownloadFactory(collection__user=user, complete=True)
    client = client_of(person_of(who, user))
    unknown = uuid.uuid4()
    answers = [
        getattr(client, method.lower())(reverse("async_downloads:download", args=[key]))
        for key in (foreign.pk, unknown)
    ]
    for answer in answers:
        assert not answer.streaming or b"".join(answer)
    clear = reverse("async_downloads:ajax_clear_download")
    answers_to_clear = [
        getattr(client, method.lower())(clear, data)
        for data in (
            {"download_key": str(foreign.pk)},
            {"download_key": str(unknown)},
            {"filepath": foreign.filepath},
            {"filepath": "downloads/no/such.csv"},
        )
    ]
    # Staff with the permission may fetch the file.
    for same in (answers, answers_to_clear) if who != "staff with it" else (answers_to_clear,):
        distinct = {(answer.status_code, answer.content, str(answer.headers)) for answer in same}
        assert len(distinct) == 1
    assert Download.objects.filter(pk=foreign.pk).exists()


CHANGING: Final = [name for name, row in TABLE.items() if row.removes]
ADDING: Final = [name for name, row in TABLE.items() if row.adds]


@pytest.mark.django_db
@pytest.mark.parametrize("name", CHANGING)
def test_a_change_needs_the_csrf_token(name: str, user: Any) -> None:
    row = TABLE[name]
    mine = DownloadFactory(collection__user=user, complete=True)
    client = client_of(person_of(row.removes[0], user), enforce_csrf_checks=True)
    url = reverse(name, args=row.key(mine))
    assert client.post(url, row.data(mine)).status_code == 403
    assert client.post(url, row.data(mine), headers={"HX-Request": "true"}).status_code == 403
    assert Download.objects.filter(pk=mine.pk).exists()
    request = RequestFactory().get("/")
    token = get_token(request)
    client.cookies["csrftoken"] = request.META["CSRF_COOKIE"]
    client.post(url, {**row.data(mine), "csrfmiddlewaretoken": token})
    assert not Download.objects.filter(pk=mine.pk).exists()


@pytest.mark.django_db
@pytest.mark.parametrize("name", ADDING)
def test_an_export_needs_the_csrf_token(name: str, user: Any) -> None:
    row = TABLE[name]
    client = client_of(person_of(row.adds[0], user), enforce_csrf_checks=True)
    mine = Download(pk=uuid.uuid4())
    assert client.post(reverse(name), row.data(mine)).status_code == 403
    assert not Download.objects.exists()


# Sockets

#: By route and name in the path, who may connect; everyone is sent only their own list.
SOCKETS: Final = {
    r"^ws/downloads/(?:(?P<username>[^/]+)/)?$": {
        "none": (False, True, True, True, True),
        "their own": (False, True, True, True, True),
        "the owner's": (False, False, False, False, True),
    },
}

#: Messages of a page, all of which are ignored.
SENT: Final[list[str | bytes]] = [
    '{{"filepath": "{filepath}"}}',
    '{{"type": "clear", "download_key": "{download_key}"}}',
    '{{"type": "downloads.hint"}}',
    b"\x00\xff",
]

#: The methods of the consumer; a message that reached it would call one by its type.
HANDLERS: Final = {"send_markup"}


def test_each_route_and_message_of_a_socket_has_a_row() -> None:
    assert {str(route.pattern) for route in websocket_urlpatterns} == set(SOCKETS)
    own = {
        name
        for name, value in vars(DownloadsConsumer).items()
        if inspect.iscoroutinefunction(value) and not hasattr(AsyncWebsocketConsumer, name)
    }
    assert own == HANDLERS
    # Channels receives no messages for them from a layer, and a page can only send its own kind.
    assert DownloadsConsumer.channel_layer_alias == ""


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("who", PEOPLE)
async def test_each_socket_has_the_expected_permissions(who: str, settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_WS_MODE = True
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

    def prepare() -> tuple[Any, Any, Download]:
        owner = UserFactory(username="ada")
        DownloadCollectionFactory(user=owner)
        mine = DownloadFactory(collection__user=owner, name=NAME, complete=True)
        return owner, person_of(who, owner), mine

    owner, user, mine = await sync_to_async(prepare)()
    before = await sync_to_async(state)()
    own = user.get_username() or "anonymous"
    names = {"none": "", "their own": f"{own}/", "the owner's": f"{owner.username}/"}
    for allowed in SOCKETS.values():
        for named, name in names.items():
            page = communicator(user, f"/ws/downloads/{name}?since=")
            connected, _ = await page.connect()
            assert connected is allowed[named][PEOPLE.index(who)], named
            if connected:
                shown = await page.receive_from()
                assert (NAME in shown) is (who == "owner")
                await assert_messages_are_ignored(page, mine, owner)
            await page.disconnect()
    assert await sync_to_async(state)() == before
    await sync_to_async(connections.close_all)()


async def assert_messages_are_ignored(page: Socket, mine: Download, owner: Any) -> None:
    """Send each kind of message, and check that no answer comes."""
    for message in SENT:
        if isinstance(message, bytes):
            await page.send_to(bytes_data=message)
        else:
            text = message.format(filepath=mine.filepath, download_key=mine.pk)
            await page.send_to(text_data=text)
    # A hint without a change is not answered either, for any user.
    await get_channel_layer().group_send(push.group_name(owner.pk), {"type": push.HINT})
    assert await page.receive_nothing(timeout=SOCKET_MINIMUM * 2)
