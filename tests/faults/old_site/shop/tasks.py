"""The exports of a site for 0.6."""

import io

from celery import shared_task

from async_downloads.cache import save_download, set_error, set_percentage

__all__ = ["break_off", "fail", "give_up", "orders", "picture", "save_twice"]


@shared_task
def orders(download_key, count, encoding="utf-8"):
    """Save a CSV file."""
    rows = [["Reference", "Customer"], *([number, f"Zoë {number}"] for number in range(count))]
    save_download(download_key, rows, encoding=encoding)


@shared_task
def picture(download_key, content):
    """Save a file that is not CSV."""
    save_download(download_key, file=io.BytesIO(content))


@shared_task
def save_twice(download_key):
    """Save two files for one download, as if a queue delivered a task twice."""
    orders(download_key, 2)
    orders(download_key, 3)


@shared_task
def fail(download_key):
    """Fail at a row, with a text that customers must not read."""

    def rows():
        yield ["Reference"]
        raise RuntimeError("postgresql://shop:secret@db")

    save_download(download_key, rows())


@shared_task
def give_up(download_key):
    """Report a failure with a message for the user."""
    set_error(download_key, "There are no orders in this month.")


@shared_task
def break_off(download_key):
    """Report 40 %, and stop."""
    set_percentage(download_key, 40)
