"""The shop in the admin. The list of orders can be exported in the background."""

from django.contrib import admin

from async_downloads.exports import ExportInBackgroundMixin
from demo.shop.models import Customer, Order, Product

admin.site.site_header = "Alder & Quill"
admin.site.site_title = "Alder & Quill"
admin.site.index_title = "Administration"
# The columns of the orders need the width.
admin.site.enable_nav_sidebar = False


@admin.register(Customer)
class CustomerAdmin(admin.ModelAdmin):
    """Customers."""

    list_display = ("name", "email", "city")
    search_fields = ("name", "email")
    autocomplete_fields = ("user",)


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    """Products."""

    list_display = ("sku", "name", "price")
    search_fields = ("sku", "name")


@admin.register(Order)
class OrderAdmin(ExportInBackgroundMixin, admin.ModelAdmin):
    """Orders, with an action and a button that lead to the page before an export."""

    list_display = (
        "reference",
        "placed_at",
        "customer",
        "product",
        "quantity",
        "total",
        "status",
    )
    export_fields = ("unit_price", "customer__email", "customer__city", "product__sku")
    list_filter = ("status",)
    list_select_related = ("customer", "product")
    autocomplete_fields = ("customer", "product")
    search_fields = ("reference",)
    ordering = ("-placed_at",)
    show_full_result_count = False
