"""The page, and the one view behind all its buttons."""

from typing import Final

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from async_downloads.exceptions import TooManyDownloadsError
from async_downloads.shortcuts import init_generic_csv_download
from demo.shop.exports import EXPORTS
from demo.shop.models import Customer, Order, Product

__all__ = ["home", "start_export"]

LATEST_ORDERS: Final = 12


@require_safe
@login_required
def home(request: HttpRequest) -> HttpResponse:
    """Show what can be exported, and the latest orders."""
    orders = Order.objects.select_related("customer", "product").order_by("-placed_at")
    context = {
        "exports": EXPORTS.values(),
        "latest_orders": orders[:LATEST_ORDERS],
        "order_count": Order.objects.count(),
        "customer_count": Customer.objects.count(),
        "product_count": Product.objects.count(),
    }
    return render(request, "shop/home.html", context)


@require_POST
@login_required
def start_export(request: HttpRequest, slug: str) -> HttpResponse:
    """Start an export, and go back to the page, which tells where to find it."""
    export = EXPORTS.get(slug)
    if export is None:
        raise Http404
    try:
        init_generic_csv_download(export.task, request.user, export.name)
    except TooManyDownloadsError as error:
        messages.warning(request, str(error))
    else:
        messages.success(request, export.name)
    return redirect("home")
