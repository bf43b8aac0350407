"""What is called alike in both packages; whichever is installed is measured."""

import uuid
from collections.abc import Callable

from async_downloads import cache
from subjects.polls import somebody

Body = Callable[[], int | None]


def progress(size: int) -> Body:
    _, key = cache.init_download(somebody(), "orders.csv")

    def body() -> int:
        for index in range(size):
            cache.update_percentage(key, size, index)
        return size

    return body


def init(size: int) -> Body:
    user = somebody(f"init-{uuid.uuid4()}")

    def body() -> int:
        for _ in range(size):
            cache.init_download(user, "orders.csv")
        return size

    return body
