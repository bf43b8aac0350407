"""The least cost: the same exports without any package."""

import csv
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import sources
from django.conf import settings
from django.db import connection

Body = Callable[[], int | None]


def _target() -> IO[str]:
    return tempfile.TemporaryFile("w+", newline="", encoding="utf-8")


def rows(size: int) -> Body:
    def body() -> None:
        with _target() as file:
            csv.writer(file, lineterminator="\n").writerows(sources.generated(size))

    return body


def columns_by_rows(size: int) -> Body:
    """Write plain columns as Python values, with ``csv.writer``."""

    def body() -> None:
        with _target() as file:
            orders = sources.columns(size).iterator(chunk_size=2000)
            csv.writer(file, lineterminator="\n").writerows(orders)

    return body


def row_function(size: int) -> Body:
    def body() -> None:
        with _target() as file:
            orders = sources.orders(size).iterator(chunk_size=2000)
            csv.writer(file, lineterminator="\n").writerows(map(sources.row, orders))

    return body


def xlsx(size: int) -> Body:
    import xlsxwriter

    def body() -> None:
        with tempfile.TemporaryFile() as file:
            book = xlsxwriter.Workbook(file, {"constant_memory": True})
            sheet = book.add_worksheet()
            for index, row in enumerate(sources.generated(size)):
                sheet.write_row(index, 0, row)
            book.close()

    return body


def cleanup(size: int) -> Body:
    top = Path(settings.MEDIA_ROOT, "downloads")
    for number in range(size):
        path = top / str(number) / "orders.csv"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"a\n" * 500)

    def body() -> int:
        for folder in top.iterdir():
            (folder / "orders.csv").unlink()
            folder.rmdir()
        return size

    return body


_TEXT = {
    # The text of each value as Python prints it: the same bytes as the package.
    "postgresql": "COPY (SELECT o.reference, CASE WHEN length(o.placed_at::timestamp::text) "
    "IN (19, 26) THEN o.placed_at::timestamp::text || '+00:00' "
    "ELSE rpad(o.placed_at::timestamp::text, 26, '0') || '+00:00' END, c.name, o.product, "
    "o.quantity, o.unit_price, o.status FROM orders_order o JOIN orders_customer c "
    "ON c.id = o.customer_id WHERE o.id <= {size}) TO STDOUT (FORMAT csv)",
    "sqlite": "SELECT o.reference || ',' || o.placed_at || ',\"' || c.name || '\",' || o.product "
    "|| ',' || o.quantity || ',' || o.unit_price || ',' || o.status || char(10) "
    "FROM orders_order o JOIN orders_customer c ON c.id = o.customer_id WHERE o.id <= {size}",
}


def columns(size: int) -> Body:
    """Write plain columns as text that the database makes."""
    statement = _TEXT[connection.vendor].format(size=size)

    def copy_out() -> None:
        with (
            tempfile.TemporaryFile() as file,
            connection.cursor() as cursor,
            cursor.cursor.copy(statement) as copy,
        ):
            for block in copy:
                file.write(block)

    def fetch() -> None:
        with tempfile.TemporaryFile() as file, connection.cursor() as cursor:
            cursor.execute(statement)
            while lines := cursor.fetchmany(2000):
                file.write("".join([line for (line,) in lines]).encode())

    return copy_out if connection.vendor == "postgresql" else fetch
