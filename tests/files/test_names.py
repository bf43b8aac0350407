"""1,000 file names: each is stored inside the prefix, and fetched under the shown name."""

import os
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import cycle, islice
from typing import Any, Final, cast
from urllib.parse import unquote

import pytest
from django.core.files.base import ContentFile
from django.http import HttpResponseBase
from django.test import Client, RequestFactory

from async_downloads import cache, serving
from async_downloads.files import storage
from async_downloads.files.names import path_for, shortened, shown_name
from async_downloads.models import Download
from async_downloads.serving.attachment import MAX_NAME_BYTES
from tests import file_names, s3
from tests.pace import LONGEST_WAIT

pytestmark = pytest.mark.any_database

COUNT: Final = 1000

#: A local S3 takes about 20 ms for each name; TEST_NAMES_ON_S3=1000 tries all.
COUNT_ON_S3: Final = int(os.environ.get("TEST_NAMES_ON_S3", "30"))

CONTENT: Final = cycle([b"", b"a,b\n", bytes(range(256))])


def header_name(disposition: str) -> str:
    """Return the name in a header as a browser reads it (RFC 6266)."""
    kind, _, parameter = disposition.partition("; ")
    assert kind == "attachment"
    if parameter.startswith("filename*="):
        charset, _, encoded = parameter.removeprefix("filename*=").partition("''")
        assert charset == "utf-8"
        return unquote(encoded, errors="strict")
    quoted = parameter.removeprefix("filename=")
    assert (quoted[:1], quoted[-1:]) == ('"', '"')
    plain, characters = "", iter(quoted[1:-1])
    for character in characters:
        assert character != '"'
        plain += next(characters) if character == "\\" else character
    return plain


def check(name: str, content: bytes, fetch: Callable[[HttpResponseBase], tuple[bytes, str]]) -> str:
    """Store a file with this name and fetch it; return its path."""
    key = str(uuid.uuid4())
    path = storage.save(path_for(key, name), ContentFile(content)).path
    assert path.startswith(f"downloads/{key}/")
    assert path.count("/") == 2
    shown = shown_name(name) or "download"
    attachment = serving.Attachment(path, shown, len(content), '"tag"')
    body, disposition = fetch(serving.serve(RequestFactory().get("/"), attachment))
    assert body == content
    assert header_name(disposition) == shortened(shown, MAX_NAME_BYTES)
    return path


def from_django(response: Any) -> tuple[bytes, str]:
    with closing(response):
        return b"".join(cast("Iterator[bytes]", response)), response["Content-Disposition"]


def from_storage(response: Any) -> tuple[bytes, str]:
    with urllib.request.urlopen(response["Location"], timeout=LONGEST_WAIT) as answer:  # noqa: S310 (our own)
        return answer.read(), answer.headers["Content-Disposition"]


def test_all_names_on_the_file_system() -> None:
    for name in [*file_names.NASTY, *file_names.fuzzed(COUNT)]:
        check(name, next(CONTENT), from_django)


def test_all_names_on_s3(settings: Any) -> None:
    settings.ASYNC_DOWNLOADS_STORAGE = "s3"
    settings.ASYNC_DOWNLOADS_SERVE = "redirect"
    with s3.running() as address:
        settings.STORAGES = s3.storages(address)
        chosen = [*file_names.NASTY, *file_names.fuzzed(COUNT_ON_S3)]
        paths = {check(name, next(CONTENT), from_storage) for name in chosen}
        pages = s3.client(address).get_paginator("list_objects_v2").paginate(Bucket=s3.BUCKET)
        assert {each["Key"] for page in pages for each in page["Contents"]} == paths


@pytest.mark.django_db(transaction=True)
def test_a_name_passes_from_the_task_to_the_browser(signed_in: Client, user: Any) -> None:
    for name in islice(file_names.fuzzed(COUNT), 25):
        _, key = cache.init_download(user, name or "x")
        cache.save_download(key, [["a"], [1]])
        download = Download.objects.get(pk=key)
        response: Any = signed_in.get(download.url)
        assert response.getvalue() == b"a\n1\n"
        expected = shortened(download.filename, MAX_NAME_BYTES)
        assert header_name(response["Content-Disposition"]) == expected
