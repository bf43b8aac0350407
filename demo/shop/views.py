"""The home page, and the one view behind all its buttons."""

from typing import Any, Final

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.html import format_html
from django.views.decorators.http import require_POST, require_safe

from async_downloads.exceptions import TooManyDownloadsError
from async_downloads.models import Download
from async_downloads.shortcuts import start_download, wake_menu
from demo.shop.exports import EXPORTS, GROUPS, Choice, Export
from demo.shop.models import Customer, Order, Product

__all__ = ["export_states", "exports_for", "find_export", "home", "start", "start_export"]

LATEST_ORDERS: Final = 12


@require_safe
@login_required
def home(request: HttpRequest) -> HttpResponse:
    """Show what can be exported, and the latest orders."""
    orders = Order.objects.select_related("customer", "product").order_by("-placed_at")
    context = {
        **_cards(request.user),
        "latest_orders": orders[:LATEST_ORDERS],
        "order_count": Order.objects.count(),
        "customer_count": Customer.objects.count(),
        "product_count": Product.objects.count(),
    }
    return render(request, "shop/home.html", context)


@require_safe
@login_required
def export_states(request: HttpRequest) -> HttpResponse:
    """Return what each card shows of its latest download; one with a refusal stays as it is."""
    refused = exports_for(request.user).get(request.GET.get("refused", ""))
    return render(request, "shop/states.html", _cards(request.user) | {"refused": refused})


@require_POST
@login_required
def start_export(request: HttpRequest, slug: str) -> HttpResponse:
    """Start an export, and say where its file will appear."""
    export = find_export(slug, request.user)
    chosen = export.choices.get(request.POST.get("choice", ""))
    if chosen is None:
        return HttpResponseBadRequest("The choice is unknown.")
    joined = False
    try:
        _, joined = start(export, chosen, request.user)
    except TooManyDownloadsError as error:
        level, text = messages.WARNING, str(error)
    else:
        level = messages.INFO if joined else messages.SUCCESS
        what = "is in progress already." if joined else "has started."
        text = format_html("<strong>{}</strong> {}", export.name, what)
    if request.htmx:  # type: ignore[attr-defined] # django-htmx's middleware adds it.
        refused = {"refused": export, "refusal": text} if level == messages.WARNING else {}
        context = _cards(request.user) | refused
        # The list does not change by one that is there already, so it is shown.
        return wake_menu(render(request, "shop/states.html", context), show=joined)
    messages.add_message(request, level, text)
    return redirect("home")


def find_export(slug: str, user: Any) -> Export:
    """Return an export.

    Raises:
        Http404: The user has none of this name.
    """
    try:
        return exports_for(user)[slug]
    except KeyError:
        raise Http404 from None


def exports_for(user: Any) -> dict[str, Export]:
    """Return what a person can export: those for a team only if they are in one."""
    team = team_of(user)
    return {slug: each for slug, each in EXPORTS.items() if team or not each.for_team}


def team_of(user: Any) -> Any:
    """Return the group that owns what a person exports for their team; None without one."""
    return user.groups.first()


def start(export: Export, chosen: Choice, user: Any) -> tuple[str, bool]:
    """Start an export, unless the same one is in progress.

    Return its download key, and whether it was in progress already.
    """
    now = timezone.localtime()
    name = f"{export.name} {now:%Y-%m-%d}"
    filename = f"{name.replace(' ', '_')}_{now:%H-%M}{chosen.extension}"
    _, download_key = start_download(
        export.task,
        team_of(user) if export.for_team else user,
        filename,
        name,
        args=chosen.args,
        join=True,
        timeout=chosen.timeout,
    )
    return download_key, Download.objects.filter(pk=download_key, timestamp__lt=now).exists()


def _cards(user: Any) -> dict[str, Any]:
    """Return the groups of cards, each card with the latest download that the user sees."""
    team = team_of(user)
    own = Q(collection__user=user)
    # A group owns its downloads by its label.
    seen = own | Q(collection__label=f"auth.group:{team.pk}") if team else own
    downloads = Download.objects.filter(seen).active().order_by("timestamp")
    latest = {download.task: download for download in downloads}
    return {
        "groups": [
            (group, [(export, latest.get(export.path)) for export in group.exports])
            for group in GROUPS
        ],
        "offered": exports_for(user),
        "unfinished": any(download.unfinished for download in latest.values()),
    }
