"""The tasks that a worker runs. Each builds one file and gets the download key first.

A call of ``time.sleep`` stands for slow work, such as a heavy query or another system.
"""

import os
import time
from collections.abc import Iterator
from decimal import Decimal
from io import BytesIO
from typing import Any, Final

from django.core.cache import caches
from django.db.models import Count, F, QuerySet, Sum
from django.template.loader import render_to_string

from async_downloads.cache import save_download, update_percentage
from async_downloads.exceptions import DownloadError
from async_downloads.formats import Rows
from async_downloads.shortcuts import download_task, queryset_to_csv
from demo.shop.models import Order, Product

__all__ = [
    "all_orders",
    "all_orders_plain",
    "invoice_archive",
    "open_orders",
    "orders_by_status",
    "orders_for_programs",
    "orders_workbook",
    "price_list",
    "product_list",
    "sales_report",
    "stock_audit",
    "supplier_catalogue",
]

HEADER: Final = ["Reference", "Placed", "Customer", "Product", "Quantity", "Unit price", "Status"]
COLUMNS: Final = (
    "reference",
    "placed_at",
    "customer__name",
    "product__name",
    "quantity",
    "unit_price",
    "status",
)

REPORT_SECONDS: Final = float(os.environ.get("DEMO_REPORT_SECONDS", 20))
AUDIT_SECONDS: Final = 8.0

INVOICES: Final = 1_000
INVOICE_SECONDS: Final = 0.3

#: Articles that the supplier sends before the connection ends.
ARTICLES_SENT: Final = 45

#: Progress is recorded at each percent. The default is each tenth, which is too coarse to watch.
PERCENTS: Final = 100


@download_task
def all_orders(download_key: str) -> None:
    """Export each order; a Python function makes its row."""
    orders = Order.objects.select_related("customer", "product").order_by("pk")
    queryset_to_csv(download_key, HEADER, orders, _order_row)


def _order_row(order: Order) -> list[Any]:
    return [
        order.reference,
        order.placed_at.isoformat(sep=" ", timespec="minutes"),
        f"{order.customer.name}, {order.customer.city}",
        order.product.name,
        order.quantity,
        order.unit_price,
        order.get_status_display(),
    ]


@download_task
def all_orders_plain(download_key: str) -> None:
    """Export the columns as they are; the database makes the CSV text."""
    save_download(download_key, _order_columns(), header=HEADER)


@download_task
def orders_workbook(download_key: str) -> None:
    """Export the same columns for Excel; the name of the file ends with ``.xlsx``."""
    save_download(download_key, _order_columns(), header=HEADER)


@download_task
def orders_for_programs(download_key: str) -> None:
    """Export the same columns as JSON Lines with the names of the fields, compressed."""
    save_download(download_key, Order.objects.order_by("pk").values(*COLUMNS))


@download_task
def orders_by_status(download_key: str, extension: str) -> None:
    """Export a ZIP file with one file for each status; the extension decides on its format."""

    def members() -> Iterator[tuple[str, Rows]]:
        for status in Order.Status:
            orders = _order_columns().filter(status=status)
            yield f"{status.label}{extension}", Rows(orders, header=HEADER)

    save_download(download_key, members=members())


@download_task
def open_orders(download_key: str) -> None:
    """Export the orders that are on their way, for a team."""
    done = [Order.Status.DELIVERED, Order.Status.RETURNED]
    save_download(download_key, _order_columns().exclude(status__in=done), header=HEADER)


@download_task
def product_list(download_key: str) -> None:
    """Export the products, a small file."""
    products = Product.objects.order_by("sku")
    header = ["Article number", "Product", "Price"]
    save_download(download_key, products.values_list("sku", "name", "price"), header=header)


def _order_columns() -> "QuerySet[Order, tuple[Any, ...]]":
    return Order.objects.order_by("pk").values_list(*COLUMNS)


@download_task
def price_list(download_key: str) -> None:
    """Save a file that does not consist of rows."""
    page = render_to_string("shop/price_list.html", {"products": Product.objects.order_by("sku")})
    save_download(download_key, file=BytesIO(page.encode()))


@download_task
def sales_report(download_key: str) -> None:
    """Add up the orders of each product, slowly, and report progress."""
    products = Product.objects.order_by("name")
    total = products.count()

    def rows() -> Iterator[list[Any]]:
        for index, product in enumerate(products):
            yield _sales_row(product)
            time.sleep(REPORT_SECONDS / total)
            update_percentage(download_key, total, index, PERCENTS)

    header = ["Product", "Orders", "Pieces", "Turnover"]
    save_download(download_key, rows(), header=header, expected_rows=total)


def _sales_row(product: Product) -> list[Any]:
    sums = product.orders.aggregate(
        orders=Count("pk"),
        pieces=Sum("quantity", default=0),
        turnover=Sum(F("quantity") * F("unit_price"), default=Decimal(0)),
    )
    # SQLite adds up floats, which forget that 34.50 has two decimals.
    turnover = sums["turnover"].quantize(Decimal("0.01"))
    return [product.name, sums["orders"], sums["pieces"], turnover]


@download_task
def invoice_archive(download_key: str) -> None:
    """Export invoices for minutes, so that there is time to cancel."""
    orders = Order.objects.select_related("customer").order_by("-pk")[:INVOICES]

    def rows() -> Iterator[list[Any]]:
        for index, order in enumerate(orders.iterator()):
            yield [f"I-{order.reference}", order.customer.name, order.total]
            time.sleep(INVOICE_SECONDS)
            update_percentage(download_key, INVOICES, index, PERCENTS)

    save_download(download_key, rows(), header=["Invoice", "Customer", "Total"])


@download_task
def stock_audit(download_key: str) -> None:
    """Fail half-way at first, with a message for the person, who then tries again."""
    products = Product.objects.order_by("sku")
    total = products.count()
    # Only the first attempt at each download adds this.
    fails = caches["default"].add(f"shop/stock-audit/{download_key}", value=True)

    def rows() -> Iterator[list[Any]]:
        for index, product in enumerate(products):
            if fails and index == total // 2:
                # A person sees the text of a DownloadError. Only staff see that of others.
                raise DownloadError(
                    f"The warehouse stopped answering after {index} of {total} products."
                )
            yield [product.sku, product.name, product.price]
            time.sleep(AUDIT_SECONDS / total)
            update_percentage(download_key, total, index, PERCENTS)

    save_download(download_key, rows(), header=["Article number", "Product", "Price"])


@download_task
def supplier_catalogue(download_key: str) -> None:
    """Save fewer rows than were announced; the list then says that the file is not whole."""
    products = Product.objects.order_by("sku")
    save_download(
        download_key,
        products[:ARTICLES_SENT].values_list("sku", "name", "price"),
        header=["Article number", "Product", "Price"],
        expected_rows=products.count(),
    )
