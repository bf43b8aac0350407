"""The least cost: the same exports without any package."""

import csv
import json
import tempfile
from collections.abc import Callable
from itertools import islice
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


def tsv(size: int) -> Body:
    def body() -> None:
        with _target() as file:
            writer = csv.writer(file, delimiter="\t", lineterminator="\n")
            writer.writerow(sources.COLUMNS)
            writer.writerows(sources.typed(size))

    return body


csv_excel = tsv


def jsonl(size: int) -> Body:
    encode = json.JSONEncoder(ensure_ascii=False, default=str, separators=(",", ":")).encode

    def body() -> None:
        with _target() as file:
            for row in sources.typed(size):
                file.write(encode(dict(zip(sources.COLUMNS, row, strict=True))) + "\n")

    return body


def xlsx(size: int) -> Body:
    import xlsxwriter

    def body() -> None:
        with tempfile.TemporaryFile() as file:
            options = {"constant_memory": True, "remove_timezone": True}
            book = xlsxwriter.Workbook(file, options)
            sheet = book.add_worksheet()
            moment = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
            price = book.add_format({"num_format": "0.00"})
            sheet.set_column(2, 2, 19, moment)
            sheet.set_column(5, 5, 17, price)
            sheet.write_row(0, 0, sources.COLUMNS)
            for index, row in enumerate(sources.typed(size), 1):
                sheet.write_row(index, 0, row)
            book.close()

    return body


def parquet(size: int) -> Body:
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    kinds = (
        *(pyarrow.int64(), pyarrow.string(), pyarrow.timestamp("us", "UTC"), pyarrow.string()),
        *(pyarrow.int64(), pyarrow.decimal128(38, 2), pyarrow.string()),
    )
    schema = pyarrow.schema(list(zip(sources.COLUMNS, kinds, strict=True)))

    def body() -> None:
        rows = sources.typed(size)
        with tempfile.TemporaryFile() as file, ParquetWriter(file, schema) as writer:
            while group := list(islice(rows, 1 << 17)):
                columns = [list(column) for column in zip(*group, strict=True)]
                writer.write_table(pyarrow.table(columns, schema=schema))

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
