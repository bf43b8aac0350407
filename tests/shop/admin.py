"""The shop in the admin, with exports."""

from django.contrib import admin

from async_downloads.exports import ExportInBackgroundMixin
from tests.shop.models import Customer, Order


@admin.register(Customer)
class CustomerAdmin(admin.ModelAdmin):
    """Customers, without exports."""


@admin.register(Order)
class OrderAdmin(ExportInBackgroundMixin, admin.ModelAdmin):
    """Orders."""

    list_display = ["reference", "customer", "total", "is_open"]
    list_filter = ["status"]
    search_fields = ["reference"]
    ordering = ["reference"]

    @admin.display(boolean=True, description="still open")
    def is_open(self, order: Order) -> bool:
        """Return whether the order still needs work."""
        return order.status == "open"
