"""The rows that all subjects export."""

from collections.abc import Iterator
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
