"""Write downloads into the cache as 0.6.0 does.

In tests/faults/test_moving_over.py, a real 0.6.0 writes them.
"""

import uuid
from datetime import datetime
from typing import Any

from django.core.cache import caches
from django.core.files.base import ContentFile

from async_downloads import settings
from async_downloads.files import storage

__all__ = ["begin", "store"]

CONTENT = b"a,b\n"


def begin(user: Any, filename: str = "orders.csv", *, listed: bool = True, **fields: Any) -> str:
    """Write a download as ``init_download`` of 0.6.0 does, and return its key.

    Args:
        user: The owner as 0.6.0 stores it: a user name, or a text.
        filename: The name of its file.
        listed: Whether it is in the list of its collection.
        **fields: Other values for fields of the entry.
    """
    cache = caches[settings.CACHE_NAME or "default"]
    key = str(uuid.uuid4())
    entry = {
        "user": user,
        "timestamp": datetime.now(),  # noqa: DTZ005 (as 0.6.0 has it)
        "filepath": f"downloads/{key}/{filename}",
        "name": filename,
        "complete": False,
        "errors": "",
        "percentage": 0,
        "css_class": None,
        "url": "",
    }
    if listed:
        collection_key = f"async_downloads/{user}"
        cache.set(collection_key, [key, *cache.get(collection_key, [])])
    cache.set(key, entry | fields)
    return key


def store(user: Any, filename: str = "orders.csv", **fields: Any) -> str:
    """Write a download with its file as ``save_download`` of 0.6.0 does; return its key."""
    url = {"url": f"/media/{filename}"}
    key = begin(user, filename, **{"complete": True, "percentage": 100, **url, **fields})
    storage.storage().save(f"downloads/{key}/{filename}", ContentFile(CONTENT))
    return key
