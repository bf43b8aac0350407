"""A page with the download centre in its navigation bar."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def home(request: HttpRequest) -> HttpResponse:
    """Show the page."""
    return render(request, "home.html")
