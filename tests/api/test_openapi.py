"""The OpenAPI description, held against a live server: no other status, no other shape, no 500."""

from itertools import product
from typing import Any, Final

import pytest
from django.conf import settings as project_settings
from django.test import Client
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from async_downloads.api.openapi import describe
from async_downloads.models import Download
from tests.attempts import long_ago
from tests.factories import DownloadFactory
from tests.recorded_calls import recorded

schemathesis = pytest.importorskip("schemathesis")
openapi_checks = pytest.importorskip("schemathesis.specs.openapi.checks")

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]

URL: Final = "/async_downloads/openapi.json"

CHECKS: Final = [
    schemathesis.checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_headers_conformance,
    openapi_checks.response_schema_conformance,
]

#: By operation, the statuses that its examples reach at least.
REACHED: Final = {
    "listDownloads": {200, 304, 400, 401, 404},
    "readDownload": {200, 304, 401, 404},
    "fetchFile": {200, 304, 401, 404, 410},
    "clearDownload": {204, 401, 403, 404, 409},
    "clearFinishedDownloads": {204, 401, 403},
    "retryDownload": {202, 401, 403, 404, 409},
    "keepDownload": {200, 401, 403, 404, 409},
}

#: By operation, queries that lead to statuses that few generated cases lead to.
QUERIES: Final[dict[str, list[dict[str, str]]]] = {
    "listDownloads": [{"limit": "many"}, {"page": "99", "limit": "1"}],
}

#: The columns of a download that a request may mean.
ROWS: Final[list[dict[str, Any]]] = [
    {"complete": True},
    {"complete": True, "held": True},
    {"complete": True, **recorded()},
    {"complete": True, "stored": False},
    {"failed": True, **recorded()},
    {"failed": True, **recorded("tests.recorded_calls.gone")},
    {"running": True, "rows_expected": 9},
    {"running": True, "heard_at": long_ago()},
    {},
]

#: Whether a client is signed in, and whether it sends the CSRF token.
CLIENTS: Final = [(True, True), (True, False), (False, True)]


def mean(case: Any, download: Download | None) -> None:
    """Let a case mean a download."""
    for parameters in (case.path_parameters or {}, case.query or {}):
        if download and "download_key" in parameters:
            parameters["download_key"] = download.download_key


@pytest.mark.long
@pytest.mark.parametrize("identifier", REACHED)
def test_the_server_answers_as_described(
    live_server: Any,
    user: Any,
    client: Client,
    shared_cache: str,
    identifier: str,
    settings: Any,
) -> None:
    settings.ASYNC_DOWNLOADS_MAX_LIFETIME = 7 * 24 * 60 * 60
    schema = schemathesis.openapi.from_url(live_server.url + URL)
    operation = schema.find_operation_by_id(identifier)
    requests = [operation.as_strategy(generation_mode=mode) for mode in schemathesis.GenerationMode]
    client.get("/admin/login/")
    token = client.cookies["csrftoken"].value
    client.force_login(user)
    session = client.cookies[project_settings.SESSION_COOKIE_NAME].value
    reached: set[int] = set()

    def send(case: Any, cookies: dict[str, str], **headers: str) -> Any:
        response = case.call(cookies=cookies, headers={"Accept": "application/json", **headers})
        case.validate_response(response, checks=CHECKS)
        reached.add(response.status_code)
        return response

    @hypothesis_settings(
        max_examples=4, deadline=None, database=None, suppress_health_check=[*HealthCheck]
    )
    @given(case=st.one_of(requests))
    def answer(case: Any, columns: Any, is_signed_in: bool, has_token: bool) -> None:
        Download.objects.all().delete()
        made = None if columns is None else DownloadFactory(collection__user=user, **columns)
        mean(case, made)
        cookies = {"csrftoken": token, **({"sessionid": session} if is_signed_in else {})}
        headers = {"X-CSRFToken": token} if has_token else {}
        response = send(case, cookies, **headers)
        if "etag" in response.headers:
            send(case, cookies, **headers, **{"If-None-Match": response.headers["etag"][0]})

    for columns, (is_signed_in, has_token) in product([*ROWS, None], CLIENTS):
        answer(columns=columns, is_signed_in=is_signed_in, has_token=has_token)
    for query in QUERIES.get(identifier, []):
        send(operation.Case(query=query), {"csrftoken": token, "sessionid": session})
    assert REACHED[identifier] <= reached


@pytest.mark.django_db
def test_each_operation_is_tried_and_each_status_described() -> None:
    operations = [operation for path in describe()["paths"].values() for operation in path.values()]
    described = {
        operation["operationId"]: set(map(int, operation["responses"])) for operation in operations
    }
    assert described.keys() == REACHED.keys()
    for identifier, statuses in REACHED.items():
        assert statuses <= described[identifier]


def test_its_urls_are_those_of_the_site_and_anybody_may_read_it(client: Client) -> None:
    response = client.get(URL)
    assert response.json() == describe()
    assert "/async_downloads/detail/{download_key}/" in response.json()["paths"]
    assert response["Cache-Control"] == "public, max-age=3600"
    assert response.json()["openapi"] == "3.1.0"


def test_times_have_the_format_with_a_zone_only_if_they_have_one(settings: Any) -> None:
    def moment() -> Any:
        return describe()["components"]["schemas"]["Download"]["properties"]["finished_at"]

    assert moment()["format"] == "date-time"
    settings.USE_TZ = False
    assert "format" not in moment()
