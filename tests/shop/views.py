"""Pages with the download centre in their navigation bar."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def home(request: HttpRequest) -> HttpResponse:
    """Show the page of a new site: stylesheet and download centre, nothing else."""
    return render(request, "home.html")


def with_htmx(request: HttpRequest) -> HttpResponse:
    """Show the page of a site that loads htmx itself, after the download centre."""
    return render(request, "with_htmx.html")


def as_0_6(request: HttpRequest) -> HttpResponse:
    """Show the page of a site that includes what django-async-downloads 0.6 documented."""
    return render(request, "as_0_6.html")
