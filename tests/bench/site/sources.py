"""What is exported, the same for everybody who is measured."""

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
    """Yield rows that cost nothing to make."""
    for number in range(rows):
        yield [number, "R1234567", "Ada Lovelace", "Teapot, blue", 3, "19.90", "shipped"]


def orders(rows: int) -> Any:
    """Return so many orders, with their customers."""
    return Order.objects.select_related("customer").filter(pk__lte=rows)


def columns(rows: int) -> Any:
    """Return the plain columns of so many orders."""
    return Order.objects.filter(pk__lte=rows).values_list(*COLUMNS)


def row(order: Any) -> list[Any]:
    """Return the cells of one order, as a site's row function would."""
    return [
        order.reference,
        order.placed_at,
        order.customer.name,
        order.product,
        order.quantity,
        order.unit_price,
        order.status,
    ]
