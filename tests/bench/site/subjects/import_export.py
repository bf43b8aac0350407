"""django-import-export, as its documentation uses it."""

import tempfile
from collections.abc import Callable

import sources
from import_export import fields, resources
from orders.models import Order

Body = Callable[[], int | None]


class OrderResource(resources.ModelResource):
    """A resource with the same seven columns."""

    customer = fields.Field(attribute="customer__name", column_name="customer__name")

    class Meta:
        model = Order
        fields = (
            "reference",
            "placed_at",
            "customer",
            "product",
            "quantity",
            "unit_price",
            "status",
        )


def columns(size: int) -> Body:
    def body() -> None:
        with tempfile.TemporaryFile() as file:
            file.write(OrderResource().export(sources.orders(size)).csv.encode())

    return body


row_function = columns
