"""What the workers run. Each task is called with the download key.

A pause in here stands for work that takes its time: a slow query, another
system, a page that has to be drawn.
"""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, Final

from django.db.models import Count, F, Sum

from async_downloads.cache import save_download, update_percentage
from async_downloads.exceptions import DownloadError
from async_downloads.shortcuts import download_task, queryset_to_csv
from demo.shop.models import Order, Product

__all__ = [
    "all_orders",
    "all_orders_plain",
    "invoice_archive",
    "sales_report",
    "stock_audit",
]

HEADER: Final = (
    "reference",
    "placed at",
    "customer",
    "product",
    "quantity",
    "unit price",
    "status",
)

REPORT_SECONDS: Final = float(os.environ.get("DEMO_REPORT_SECONDS", 20))
AUDIT_SECONDS: Final = 8.0
INVOICES: Final = 1_000
INVOICE_SECONDS: Final = 0.3


@download_task
def all_orders(download_key: str) -> None:
    """Export every order, with a function that makes each row."""
    orders = Order.objects.select_related("customer", "product").order_by("pk")
    queryset_to_csv(download_key, HEADER, orders, _order_row)


def _order_row(order: Order) -> Sequence[Any]:
    return (
        order.reference,
        order.placed_at.isoformat(sep=" ", timespec="minutes"),
        f"{order.customer.name}, {order.customer.city}",
        order.product.name,
        order.quantity,
        order.unit_price,
        order.status,
    )


@download_task
def all_orders_plain(download_key: str) -> None:
    """Export every order, as the columns are in the database."""
    columns = Order.objects.order_by("pk").values_list(
        "reference",
        "placed_at",
        "customer__name",
        "product__name",
        "quantity",
        "unit_price",
        "status",
    )
    save_download(download_key, chain([HEADER], columns.iterator()))


@download_task
def sales_report(download_key: str) -> None:
    """Add up the orders of each product, slowly."""
    products = list(Product.objects.order_by("name"))
    header = ("product", "orders", "pieces", "turnover")
    rows = (_sales_row(product) for product in products)
    paced = _paced(download_key, rows, len(products), REPORT_SECONDS / len(products))
    save_download(download_key, chain([header], paced))


def _sales_row(product: Product) -> Sequence[Any]:
    sums = product.orders.aggregate(
        orders=Count("pk"), pieces=Sum("quantity"), turnover=Sum(F("quantity") * F("unit_price"))
    )
    return product.name, sums["orders"], sums["pieces"], sums["turnover"]


@download_task
def stock_audit(download_key: str) -> None:
    """Compare the shelves with the books, and fail half-way."""
    products = list(Product.objects.order_by("sku"))
    rows = _audit_rows(products)
    paced = _paced(download_key, rows, len(products), AUDIT_SECONDS / len(products))
    save_download(download_key, chain([("article number", "product", "price")], paced))


def _audit_rows(products: Sequence[Product]) -> Iterator[Sequence[Any]]:
    for index, product in enumerate(products):
        if index == len(products) // 2:
            # The message of a DownloadError is meant for the person who asked.
            raise DownloadError(
                f"The warehouse stopped answering after {index} of {len(products)} products. "
                "Please try again later."
            )
        yield product.sku, product.name, product.price


@download_task
def invoice_archive(download_key: str) -> None:
    """Fetch invoices one by one, for minutes: something to cancel."""
    orders = Order.objects.select_related("customer").order_by("-pk")[:INVOICES]
    header = ("invoice", "due", "customer", "total")
    rows = (
        (f"I-{order.reference}", _due(order.placed_at), order.customer.name, order.total)
        for order in orders
    )
    save_download(
        download_key, chain([header], _paced(download_key, rows, INVOICES, INVOICE_SECONDS))
    )


def _due(placed_at: datetime) -> str:
    return (placed_at + timedelta(days=14)).date().isoformat()


def _paced(
    download_key: str, rows: Iterable[Sequence[Any]], total: int, seconds: float
) -> Iterator[Sequence[Any]]:
    """Yield rows with a pause after each, and record progress at every percent."""
    for index, row in enumerate(rows):
        yield row
        time.sleep(seconds)
        update_percentage(download_key, total, index, resolution=100)
