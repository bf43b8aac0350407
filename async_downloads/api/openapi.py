"""The OpenAPI 3.1 description of the JSON, made of its types and of the URLs of this site."""

import types
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, Literal, NotRequired, Union, get_args, get_origin, get_type_hints

from django.conf import settings as project_settings
from django.urls import reverse

import async_downloads
from async_downloads import settings
from async_downloads.api.conditional import MAX_PAGE
from async_downloads.api.entries import PLACEHOLDER
from async_downloads.api.problems import PROBLEM_TYPE
from async_downloads.api.schemas import DownloadData, DownloadListData, Note, ProblemData

__all__ = ["describe", "schema_of"]

#: The objects of the JSON, by their names in the description.
OBJECTS: Final = {
    "Download": DownloadData,
    "DownloadList": DownloadListData,
    "Problem": ProblemData,
}

TYPES: Final = {str: "string", int: "integer", bool: "boolean", type(None): "null"}

#: The schema of a parameter that is on or off.
SWITCH: Final = {"type": "string", "enum": ["0", "1"]}

#: The refusals of every operation, and those of each operation with POST.
REFUSED: Final = (401,)
POST_REFUSED: Final = (401, 403)

#: When a request is refused with a status.
REASONS: Final = {
    400: "A parameter is invalid.",
    401: "The client is signed out.",
    403: "The CSRF token is missing or wrong, or the person may only fetch downloads of the team.",
    404: "There is none, or it belongs to another person, or the site refuses it.",
    409: "Too many downloads are in progress, or the task no longer exists; or staff hold the "
    "download, or it cannot be kept for longer.",
    410: "The file is missing from the storage.",
    416: "The range is beyond the end of the file.",
    503: "The database is locked, or the storage does not answer. Retry-After says when to repeat.",
}


def describe() -> dict[str, Any]:
    """Return the description, with the URLs of this site."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Downloads",
            "description": "The downloads of the person who is signed in. Send "
            "`Accept: application/json`, so that errors are JSON, too.",
            "version": async_downloads.__version__,
        },
        "paths": dict(_paths()),
        "components": {
            "schemas": {name: schema_of(kind) for name, kind in OBJECTS.items()},
            "securitySchemes": {
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": project_settings.SESSION_COOKIE_NAME,
                },
                "csrf": {
                    "type": "apiKey",
                    "in": "header",
                    "name": _header_name(project_settings.CSRF_HEADER_NAME),
                    "description": "The CSRF token of the page or of the cookie.",
                },
            },
        },
    }


def schema_of(kind: Any) -> dict[str, Any]:
    """Return the JSON Schema of a TypedDict, or of a type that one has.

    Args:
        kind: The type, perhaps with a ``Note``.
    """
    for name, known in OBJECTS.items():
        if kind is known:
            return _object(known)
        if get_args(kind) == (known,):
            return {"type": "array", "items": {"$ref": f"#/components/schemas/{name}"}}
    if get_origin(kind) is NotRequired:
        return schema_of(get_args(kind)[0])
    if hasattr(kind, "__metadata__"):
        note: Note = kind.__metadata__[0]
        return schema_of(kind.__origin__) | {"description": note.text, **_format(note.format)}
    if get_origin(kind) is Literal:
        return {"type": "string", "enum": list(get_args(kind))}
    if get_origin(kind) in (Union, types.UnionType):
        return {"type": [TYPES[each] for each in get_args(kind)]}
    return {"type": TYPES[kind]}


def _format(name: str) -> dict[str, str]:
    """Return the format of a text; none for times without a zone, as JSON Schema demands one."""
    is_known = name and (name != "date-time" or project_settings.USE_TZ)
    return {"format": name} if is_known else {}


def _object(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {
        "type": "object",
        "description": kind.__doc__,
        "properties": {name: schema_of(hint) for name, hint in hints.items()},
        "required": [name for name in hints if name in kind.__required_keys__],
    }


def _paths() -> "Mapping[str, Any]":
    listed = _operation(
        "listDownloads",
        "List the downloads",
        {200: _json("DownloadList", "The downloads.", etag=True), 304: _unchanged()},
        refused=(400, *REFUSED, 404),
        parameters=[
            _query("page", _integer(MAX_PAGE), "The number of the page."),
            _query("limit", _integer(settings.JSON_LIMIT), "The downloads of a page."),
            _query("html", SWITCH, "0 leaves out the markup."),
            _query("seen", SWITCH, "1 says that the person sees the list: nothing in it is new."),
            _known(),
        ],
    )
    one = _operation(
        "readDownload",
        "Read one download",
        {200: _json("Download", "The download.", etag=True), 304: _unchanged()},
        refused=(*REFUSED, 404),
        parameters=[_key("path"), _known()],
    )
    clear = _operation(
        "clearDownload",
        "Clear a download, or cancel it",
        {204: {"description": "It is gone."}},
        refused=(*POST_REFUSED, 404, 409, 503),
        parameters=[_key("query")],
    )
    clear_finished = _operation(
        "clearFinishedDownloads",
        "Clear all downloads that are complete or have failed",
        {204: {"description": "They are gone."}},
        refused=(400, *POST_REFUSED, 503),
        parameters=[
            _query(
                "until",
                {"type": "string", "format": "date-time"},
                "Keeps what has finished later.",
            ),
        ],
    )
    retry = _operation(
        "retryDownload",
        "Build a download again",
        {202: _json("Download", "It waits for a worker, or is in progress.", location=True)},
        refused=(*POST_REFUSED, 404, 409, 503),
        parameters=[_key("query")],
    )
    keep = _operation(
        "keepDownload",
        "Keep a complete download for longer",
        {200: _json("Download", "The download, which expires later.")},
        refused=(*POST_REFUSED, 404, 409, 503),
        parameters=[_key("query")],
    )
    file: dict[str, Any] = {"*/*": {}}
    fetch = _operation(
        "fetchFile",
        "Fetch the file",
        {
            200: {"description": "The file.", "content": file},
            206: {"description": "The range of the file.", "content": file},
            302: {"description": "The file is at the storage."},
            304: _unchanged(),
        },
        refused=(*REFUSED, 404, 410, 416, 503),
        parameters=[_key("path")],
    )
    return {
        _path("ajax_update"): {"get": listed},
        _path("detail", keyed=True): {"get": one},
        _path("download", keyed=True): {"get": fetch},
        _path("ajax_clear_download"): {"post": clear},
        _path("clear_finished"): {"post": clear_finished},
        _path("retry"): {"post": retry},
        _path("keep"): {"post": keep},
    }


def _path(name: str, *, keyed: bool = False) -> str:
    url = reverse(f"async_downloads:{name}", args=[PLACEHOLDER] if keyed else [])
    return url.replace(PLACEHOLDER, "{download_key}")


def _operation(
    identifier: str,
    summary: str,
    responses: Mapping[int, Any],
    *,
    refused: tuple[int, ...],
    parameters: "list[dict[str, Any]] | None" = None,
) -> dict[str, Any]:
    errors = {status: _refusal(status) for status in refused}
    csrf: dict[str, list[str]] = {"csrf": []} if 403 in errors else {}
    return {
        "operationId": identifier,
        "summary": summary,
        "security": [{"session": [], **csrf}],
        "parameters": parameters or [],
        "responses": {str(status): answer for status, answer in {**responses, **errors}.items()},
    }


def _refusal(status: int) -> dict[str, Any]:
    content: Any = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    if status == HTTPStatus.FORBIDDEN:
        # Without the token, Django's middleware answers before any view.
        content["text/html"] = {}
    return {"description": REASONS[status], "content": content}


def _json(name: str, text: str, *, etag: bool = False, location: bool = False) -> dict[str, Any]:
    headers = {"ETag": "For If-None-Match."} if etag else {}
    headers |= {"Location": "The URL of the download."} if location else {}
    return {
        "description": text,
        "headers": {
            header: {"description": meaning, "schema": {"type": "string"}}
            for header, meaning in headers.items()
        },
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}},
    }


def _unchanged() -> dict[str, Any]:
    return {"description": "The client has it already."}


def _query(name: str, schema: dict[str, Any], text: str, *, required: bool = False) -> Any:
    return {
        "name": name,
        "in": "query",
        "required": required,
        "description": text,
        "schema": schema,
    }


def _key(place: str) -> dict[str, Any]:
    key = _query("download_key", {"type": "string", "format": "uuid"}, "The key.", required=True)
    return {**key, "in": place}


def _known() -> dict[str, Any]:
    text = "The ETag of the last response: 304 if it is still right."
    return {**_query("If-None-Match", {"type": "string"}, text), "in": "header"}


def _integer(maximum: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": 1, "maximum": maximum}


def _header_name(key: str) -> str:
    """Return the name of a header by its key in ``request.META``."""
    return key.removeprefix("HTTP_").replace("_", "-").title()
