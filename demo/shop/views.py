"""The home page, and the one view behind all its buttons."""

from typing import Final

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.html import format_html
from django.views.decorators.http import require_POST, require_safe

from async_downloads.cache import init_download
from async_downloads.exceptions import TooManyDownloadsError
from async_downloads.shortcuts import enqueue_download, init_generic_csv_download, wake_menu
from demo.shop.exports import EXPORTS, GROUPS, Export
from demo.shop.models import Customer, Order, Product

__all__ = ["home", "start_export"]

LATEST_ORDERS: Final = 12


@require_safe
@login_required
def home(request: HttpRequest) -> HttpResponse:
    """Show what can be exported, and the latest orders."""
    orders = Order.objects.select_related("customer", "product").order_by("-placed_at")
    context = {
        "groups": GROUPS,
        "latest_orders": orders[:LATEST_ORDERS],
        "order_count": Order.objects.count(),
        "customer_count": Customer.objects.count(),
        "product_count": Product.objects.count(),
    }
    return render(request, "shop/home.html", context)


@require_POST
@login_required
def start_export(request: HttpRequest, slug: str) -> HttpResponse:
    """Start an export, and say where its file will appear."""
    export = EXPORTS.get(slug)
    if export is None:
        raise Http404
    try:
        _start(export, request.user)
    except TooManyDownloadsError as error:
        level, text = messages.WARNING, str(error)
    else:
        level = messages.SUCCESS
        text = format_html("<strong>{}</strong> has started.", export.name)
    if request.htmx:  # type: ignore[attr-defined] # django-htmx's middleware adds it.
        return wake_menu(HttpResponse(text))
    messages.add_message(request, level, text)
    return redirect("home")


def _start(export: Export, user: object) -> None:
    if export.extension == ".csv":
        init_generic_csv_download(export.task, user, export.name)
    else:
        filename = export.name.replace(" ", "_") + export.extension
        _, download_key = init_download(user, filename, export.name)
        enqueue_download(export.task, download_key)
