"""A local S3 server (moto), which django-storages uses by HTTP."""

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import boto3
from moto.server import ThreadedMotoServer

from tests.pace import LONGEST_WAIT

__all__ = ["BUCKET", "client", "empty", "running", "storages"]

BUCKET: Final = "downloads"

STATIC: Final = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}

#: The server accepts any credentials.
KEYS: Final = {"access_key": "tests", "secret_key": "tests", "region_name": "us-east-1"}


@contextmanager
def running() -> Iterator[str]:
    """Run a server with an empty bucket on a free port, and yield its address."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        address = "http://{}:{}".format(*server.get_host_and_port())
        empty(address)
        yield address
    finally:
        server.stop()


def empty(address: str) -> Any:
    """Remove everything, create the bucket again, and return a client.

    All servers of a process share their contents, also one after another.
    """
    reset = urllib.request.Request(f"{address}/moto-api/reset", method="POST")  # noqa: S310 (our own)
    with urllib.request.urlopen(reset, timeout=LONGEST_WAIT):  # noqa: S310 (our own)
        emptied = client(address)
    emptied.create_bucket(Bucket=BUCKET)
    return emptied


def client(address: str) -> Any:
    """Return a client of boto3 for direct access."""
    return boto3.client(
        "s3",
        endpoint_url=address,
        aws_access_key_id=KEYS["access_key"],
        aws_secret_access_key=KEYS["secret_key"],
        region_name=KEYS["region_name"],
    )


def storages(address: str, **options: Any) -> dict[str, Any]:
    """Return the setting STORAGES with an additional storage "s3"."""
    s3 = {"bucket_name": BUCKET, "endpoint_url": address, "signature_version": "s3v4", **KEYS}
    return {
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
        "staticfiles": STATIC,
        "s3": {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": s3 | options},
    }
