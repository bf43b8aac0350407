"""The URLs of a site with the custom user model."""

from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.urls import include, path

from tests.faults.site.members.models import Member


def sign_in(request: HttpRequest, name: str) -> HttpResponse:
    """Sign in the member with this name before the @."""
    login(request, Member.objects.get_or_create(email=f"{name}@example.com")[0])
    get_token(request)
    return HttpResponse(name)


urlpatterns = [
    path("sign-in/<str:name>/", sign_in),
    path("", include("tests.faults.site.transactions")),
]
