"""A local S3 (moto), for as long as a module of tests needs it.

The storage is the real one of django-storages, and talks HTTP to it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import boto3
from moto.server import ThreadedMotoServer

__all__ = ["BUCKET", "client", "running", "storages"]

BUCKET: Final = "downloads"

STATIC: Final = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}

#: Nobody else takes these.
KEYS: Final = {"access_key": "tests", "secret_key": "tests", "region_name": "us-east-1"}


@contextmanager
def running() -> Iterator[str]:
    """Run a server on a free port, with an empty bucket; yields its address."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        address = "http://{}:{}".format(*server.get_host_and_port())
        client(address).create_bucket(Bucket=BUCKET)
        yield address
    finally:
        server.stop()


def client(address: str) -> Any:
    """Return boto's own client, to look at what there is."""
    return boto3.client(
        "s3",
        endpoint_url=address,
        aws_access_key_id=KEYS["access_key"],
        aws_secret_access_key=KEYS["secret_key"],
        region_name=KEYS["region_name"],
    )


def storages(address: str, **options: Any) -> dict[str, Any]:
    """Return Django's setting with a storage "s3" beside the usual ones."""
    s3 = {"bucket_name": BUCKET, "endpoint_url": address, "signature_version": "s3v4", **KEYS}
    return {
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
        "staticfiles": STATIC,
        "s3": {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": s3 | options},
    }
