"""The rows that all subjects export."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from orders.models import Order

COLUMNS = (
    "reference",
    "placed_at",
    "customer__name",
    "product",
    "quantity",
    "unit_price",
    "status",
)


def generated(rows: int) -> Iterator[list[Any]]:
    """Yield constant rows, which take no time to make."""
    for number in range(rows):
        yield [number, "R1234567", "Ada Lovelace", "Teapot, blue", 3, "19.90", "shipped"]


def typed(rows: int) -> Iterator[list[Any]]:
    """Yield rows with numbers and times, which take no time to make."""
    moment, price = datetime(2026, 1, 31, 18, 30, tzinfo=UTC), Decimal("19.90")
    for number in range(rows):
        yield [number, "R1234567", moment, "Ada Lovelace", 3, price, "shipped"]


async def generated_async(rows: int) -> AsyncIterator[list[Any]]:
    """Yield the same rows from an async generator."""
    for row in generated(rows):
        yield row


def orders(rows: int) -> Any:
    """Return this many orders, with their customers."""
    return Order.objects.select_related("customer").filter(pk__lte=rows)


def columns(rows: int) -> Any:
    """Return the plain columns of this many orders."""
    return Order.objects.filter(pk__lte=rows).values_list(*COLUMNS)


def row(order: Any) -> list[Any]:
    """Return the cells of an order, as the row function of a site would."""
    return [
        order.reference,
        order.placed_at,
        order.customer.name,
        order.product,
        order.quantity,
        order.unit_price,
        order.status,
    ]


def export(download_key: str) -> None:
    """Be a task that is queued and never run."""
