"""No URL of the app answers with a server error, whatever a client sends."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, connections
from django.test import AsyncClient, Client
from django.urls import reverse
from django.utils import timezone

from async_downloads.models import Download
from tests import jobs
from tests.factories import DownloadFactory, OrderFactory
from tests.shop.admin import OrderAdmin
from tests.staff import COLLECTIONS, LIST, detail

pytestmark = pytest.mark.django_db(transaction=True)

LONG = "9" * 6000

#: Invalid texts that may reach a query, and what each server refuses there.
TEXTS_IN_QUERIES = ["", "-1", "1e9", "a\0b", "٣", "é" * 300, "9" * 30, LONG]

#: Texts that are invalid as any parameter.
TEXTS = [
    *TEXTS_IN_QUERIES,
    *(" ", ".", "0", "\ufeff", "²", "%", "%00", "'\"<", "{"),
    *("nan", "inf", "[", "http://[", "//[", "../..", "1_0", "a." * 3000, ",".join("9" * 500)),
]

#: Moments at either end of the calendar, and without a time zone.
MOMENTS = [
    *("0001-01-01", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"),
    *("2026-01-01T00:00:00", "2026-01-01T00:00:00Z", "2026-02-30T00:00:00"),
]

#: The texts that matter on this database.
CHOSEN = TEXTS if connection.vendor == "sqlite" else TEXTS_IN_QUERIES

URLS = [
    *("http://[", "http://[::1", "//[", "http://testserver:abc/", "http://testserver/[?[#["),
    *("http://testserver", "http://testserver/\x7f", "http://testserver/" + LONG, "javascript:x"),
    *(
        "\xff\xfe",
        "http://\xff/",
        "http://testserver//evil.example/",
        "http://testserver/%00%ff",
        "x",
    ),
]

#: Invalid URLs of the page to show next.
TARGETS = [*URLS, "/" + LONG, "/x?" + LONG, "/" + "é" * 1000, "/a\r\nSet-Cookie: b"]

#: Invalid values, by header.
HEADERS = {
    "HX-Current-URL": URLS,
    # Django's own code reads these.
    "Referer": URLS[:5],
    "Origin": URLS[:5],
    "HX-Request": ["false", "TRUE", "\xff", LONG],
    "HX-Trigger": TEXTS,
    "Triggering-Event": ["{", "[" * 500, LONG],
    "Range": [
        *(
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=--1",
            "bytes=x-y",
            "bytes=1-0",
            "bytes=-0",
            "lines=0-1",
        ),
        *(
            "bytes=0-0,2-3",
            "bytes=" + "0-0," * 1000,
            f"bytes={LONG}-",
            f"bytes=-{LONG}",
            "bytes=²-",
        ),
        *(f"bytes=0-{LONG}", f"bytes={LONG}-{LONG}", "bytes=\xff-", "bytes=٣-"),
    ],
    "If-Range": ['"', 'W/"x"', "Mon, 99 Foo 99999 99:99:99 GMT", LONG, "\xff"],
    "If-None-Match": ['"', '"\xff"', "*", "W/", ", ,", '"x",' * 1000, LONG],
    "If-Match": ['"', "*", "W/", LONG],
    "If-Modified-Since": ["Mon, 99 Foo 99999 99:99:99 GMT", "0", LONG, "\xff"],
    "If-Unmodified-Since": ["Thu, 01 Jan 0000 00:00:00 GMT", LONG],
    "Accept": ["*", "/", ";q=x", "application/json;q=9e9", "\xff", "a/b," * 500, LONG],
    "Accept-Language": ["\xff", "x" * 600, ";q=,,;", "de-" * 200, "*"],
    "Cookie": ["=;=", "sessionid=\xff", "django_language=../x", f"sessionid={LONG}"],
}

PARAMETERS = {
    "ajax_update": ["version", "page", "limit", "html"],
    "download_list": ["page"],
    "ajax_clear_download": ["download_key", "filepath", "next"],
    "clear_finished": ["until", "next"],
    "retry": ["download_key", "next"],
    "keep": ["download_key", "next"],
}

POSTED = ["ajax_clear_download", "clear_finished", "retry", "keep"]


def status_and_header_size(answer: Any) -> tuple[int, int]:
    """Return the status of a response, and the size of its headers in bytes."""
    lines = [f"{name}: {value}\r\n".encode("latin-1") for name, value in answer.items()]
    lines += [f"Set-Cookie: {each.OutputString()}\r\n".encode() for each in answer.cookies.values()]
    if answer.streaming:
        answer.close()
    return answer.status_code, sum(map(len, lines))


@pytest.fixture
def mine(user: Any) -> Download:
    return DownloadFactory(collection__user=user, complete=True)


@pytest.fixture(params=["owner", pytest.param("visitor", marks=pytest.mark.any_database)])
def client(request: pytest.FixtureRequest, user: Any) -> Client:
    """Return a client that gets a response to an exception, as a browser does."""
    client = Client(raise_request_exception=False)
    if request.param == "owner":
        client.force_login(user)
    return client


@pytest.fixture
def staff_client(staff_user: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """Return a client of staff for whom an export of an order is queued, and not built."""
    OrderFactory()
    monkeypatch.setattr(OrderAdmin, "export_task", jobs.Backend())
    client = Client(raise_request_exception=False)
    client.force_login(staff_user)
    for _ in jobs.forget():
        yield client


def multipart(fields: Mapping[str, str | bytes]) -> bytes:
    """Return the body of a form with the boundary ``x``, whose texts have any encoding."""
    field = b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    encoded = {
        name.encode(): value.encode() if isinstance(value, str) else value
        for name, value in fields.items()
    }
    return b"".join(field % each for each in encoded.items()) + b"--x--\r\n"


def requests_to_each_url(client: Client, download: Download) -> Iterator[Callable[..., Any]]:
    """Yield functions that send a request to each URL of the app."""
    for name in PARAMETERS:
        send = client.post if name in POSTED else client.get
        url = reverse(f"async_downloads:{name}")

        def request(send: Any = send, url: str = url, **options: Any) -> Any:
            return send(url, **options)

        yield request
    for method in ("get", "head"):
        yield lambda method=method, **options: getattr(client, method)(download.url, **options)
    script = reverse("async_downloads:script", args=["htmx-2.min.js"])
    yield lambda **options: client.get(script, **options)


@pytest.mark.parametrize(
    "name",
    # Of the headers, only cookies are looked up in a database.
    [pytest.param(name, marks=[pytest.mark.any_database] * (name != "Cookie")) for name in HEADERS],
)
def test_a_wrong_header_is_not_a_server_error(client: Client, mine: Download, name: str) -> None:
    # Most requests of a visitor end at the redirect to the sign-in page.
    for value in HEADERS[name] if client.cookies else HEADERS[name][:4]:
        headers = {"HX-Request": "true", f"{name}-URI-AutoEncoded": "true", name: value}
        if not name.startswith("HX-"):
            headers = {name: value}
        for request in requests_to_each_url(client, mine):
            answer = request(headers=headers)
            status, size = status_and_header_size(answer)
            assert status < 500, (value[:50], answer.request)
            assert size < 3000, (value[:50], answer.request)


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_wrong_parameter_is_not_a_server_error(client: Client, mine: Download, name: str) -> None:
    url = reverse(f"async_downloads:{name}")
    send = client.post if name in POSTED else client.get
    for parameter in PARAMETERS[name]:
        for value in [*CHOSEN, *(TARGETS if parameter == "next" else URLS[:2])]:
            answer = send(url, {parameter: value})
            status, size = status_and_header_size(answer)
            assert status < 500, (parameter, value[:50])
            assert size < 3000, (parameter, value[:50])


@pytest.mark.any_database
@pytest.mark.parametrize(
    "query", ["version=%ff%fe", "page=%ff", "page=%00", "version=%ed%a0%80.x", LONG]
)
def test_an_undecodable_query_is_not_a_server_error(
    client: Client, mine: Download, query: str
) -> None:
    for request in requests_to_each_url(client, mine):
        status, size = status_and_header_size(request(query_params=None, QUERY_STRING=query))
        assert status < 500
        assert size < 3000


@pytest.mark.parametrize("charset", ["utf-8", "unicode_escape", "utf-16", "latin-1"])
def test_a_field_in_another_charset_is_not_a_server_error(
    client: Client, mine: Download, charset: str
) -> None:
    body = multipart({"filepath": b"\\ud800\xff", "next": b"/\\ud800\xff"})
    kind = f"multipart/form-data; boundary=x; charset={charset}"
    for name in POSTED:
        url = reverse(f"async_downloads:{name}")
        assert client.generic("POST", url, body, content_type=kind).status_code < 500


@pytest.mark.any_database
@pytest.mark.parametrize(
    "tail",
    [
        *("download/x/", "download/%00/", "detail/x/"),
        *("scripts/%00", "scripts/%ff", "scripts/a.js\x7f"),
    ],
)
def test_an_unknown_path_is_not_found(client: Client, tail: str) -> None:
    # Visitors learn of no key whether there is a download.
    expected = {404} if client.cookies or tail.startswith("scripts") else {302, 401, 404}
    for path in (tail, tail + LONG, tail.replace("x", "é" * 300)):
        assert client.get(f"/async_downloads/{path}").status_code in expected


@pytest.mark.any_database
async def test_wrong_headers_are_not_server_errors_under_asgi(user: Any) -> None:
    client = AsyncClient(raise_request_exception=False)
    await client.aforce_login(user)
    url = reverse("async_downloads:ajax_update")
    for value in URLS:
        headers = {"HX-Request": "true", "HX-Current-URL": value}
        assert (await client.get(url, headers=headers)).status_code == 200
    await sync_to_async(connections.close_all)()


@pytest.mark.parametrize("parameter", ["q", "owner", "age", "condition", "size"])
def test_a_wrong_filter_of_the_admin_is_not_a_server_error(
    staff_user: Any, mine: Download, parameter: str
) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(staff_user)
    for value in CHOSEN if parameter in ("q", "owner") else TEXTS_IN_QUERIES:
        assert client.get(LIST, {parameter: value}).status_code < 500, value[:50]
        if parameter == "q":
            assert client.get(COLLECTIONS, {parameter: value}).status_code < 500, value[:50]


def test_other_wrong_parameters_of_the_admin_are_not_server_errors(
    staff_user: Any, mine: Download
) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(staff_user)
    confirm = {"action": "extend_expiry", "_selected_action": [str(mine.pk)], "post": "yes"}
    for value in CHOSEN:
        assert client.get(f"{LIST}progress/", {"keys": value}).status_code in (200, 400)
        for unit in ("year", "month", "day"):
            assert client.get(LIST, {f"timestamp__{unit}": value}).status_code < 500, value[:50]
        assert client.get(LIST, {"timestamp__year": "9999"}).status_code == 302
        for name in ("shown_at", "days", "select_across"):
            assert client.post(LIST, {**confirm, name: value}).status_code < 500, (name, value[:50])
        key = value.replace("/", "").replace("?", "") or "x"
        assert client.get(detail(mine).replace(str(mine.pk), key)).status_code < 500


@pytest.mark.parametrize("one_click", [False, True])
def test_a_wrong_key_of_a_ticked_row_is_not_a_server_error(
    staff_client: Client, monkeypatch: pytest.MonkeyPatch, one_click: bool
) -> None:
    monkeypatch.setattr(OrderAdmin, "export_without_asking", one_click)
    pages = {
        LIST: "cancel",
        COLLECTIONS: "delete_selected",
        "/admin/async_downloads/fetchrecord/": "export_in_background",
        "/admin/shop/order/": "export_in_background",
    }
    for page, action in pages.items():
        for value in CHOSEN:
            answer = staff_client.post(page, {"action": action, "_selected_action": value})
            assert answer.status_code < 500, (page, value[:50])
        assert answer.status_code == 400, page


#: A text that is a surrogate in one charset of a form, and what the page before an export posts.
SURROGATE = b"\\ud800\xff"
EXPORT = "/admin/shop/order/export-in-background/"
CHOICES: dict[str, Any] = {"format": "csv", "encoding": "utf-8", "columns": "total"}
BUTTONS: Any = ({}, {"_none": "1"}, {"_save": "1"})


@pytest.mark.parametrize(
    "name",
    [
        *("keys", "format", "encoding", "time_zone", "columns", "order"),
        *("preset", "preset_name", "_up", "_down", "_use", "_all", "_none", "_save"),
    ],
)
def test_a_wrong_choice_for_an_export_is_not_a_server_error(
    staff_client: Client, name: str
) -> None:
    with timezone.override("Europe/Berlin"):
        for button in BUTTONS:
            data = {**CHOICES, "order": "total", "time_zone": "site", **button}
            for value in [*TEXTS_IN_QUERIES, "[", "{"]:
                response = staff_client.post(EXPORT, {**data, name: value})
                assert response.status_code < 500, (button, value[:50])
            body = multipart({**data, name: SURROGATE})
            kind = "multipart/form-data; boundary=x; charset=unicode_escape"
            assert staff_client.generic("POST", EXPORT, body, content_type=kind).status_code < 500


@pytest.mark.parametrize(
    "parameter",
    [
        *("o", "q", "p", "e", "all", "_popup", "_facets", "_to_field", "status", "status__in"),
        *("customer", "pk", "pk__in", "id__range", "id__isnull", "total__gt", "total__year"),
        *("reference__regex", "reference__range", "customer__name", "is_open", "no__such", ""),
    ],
)
def test_a_wrong_filter_of_an_export_is_not_a_server_error(
    staff_client: Client, parameter: str
) -> None:
    for value in [*TEXTS_IN_QUERIES, "[", "\\"]:
        query = urlencode({parameter: value})
        assert staff_client.get(f"{EXPORT}?{query}").status_code < 500, value[:50]
        data = {**CHOICES, "order": "total"}
        assert staff_client.post(f"{EXPORT}?{query}", data).status_code < 500, value[:50]


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
@pytest.mark.parametrize("use_tz", [True, False])
@pytest.mark.parametrize("moment", MOMENTS)
def test_no_moment_is_a_server_error(
    client: Client, mine: Download, settings: Any, moment: str, use_tz: bool, zone: str
) -> None:
    settings.USE_TZ, settings.TIME_ZONE = use_tz, zone
    for parameters in ({"since": moment}, {"since": moment, "summary": ""}):
        url = reverse("async_downloads:ajax_update")
        answer = client.get(url, parameters, headers={"HX-Request": "true"})
        assert answer.status_code in (200, 204)
    url = reverse("async_downloads:clear_finished")
    assert client.post(url, {"until": moment}).status_code in (302, 400)
