"""Staff who sign in to the admin, and what they see there."""

import re
from html import unescape
from typing import Any, Final

from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from tests.factories import UserFactory

LIST: Final = "/admin/async_downloads/download/"
COLLECTIONS: Final = "/admin/async_downloads/downloadcollection/"


def client_of(user: Any) -> Client:
    """Sign somebody in."""
    client = Client()
    client.force_login(user)
    return client


def staff_with(*permissions: str) -> Client:
    """Sign in somebody of the staff who has these permissions and no other."""
    somebody = UserFactory(is_staff=True)
    somebody.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return client_of(somebody)


def detail(row: Any) -> str:
    """Return the page of a row."""
    return reverse(f"admin:async_downloads_{row._meta.model_name}_change", args=[row.pk])


def text(client: Client, url: str, **query: Any) -> str:
    """Return a page that must be there."""
    response = client.get(url, query)
    assert response.status_code == 200
    return response.content.decode()


def listed(client: Client, **query: Any) -> set[str]:
    """Return the names in the list of downloads."""
    cells = re.findall(r'<th class="field-name"><a[^>]*>(.*?)</a>', text(client, LIST, **query))
    return {unescape(cell) for cell in cells}


def chosen(client: Client, action: str, rows: Any, *, url: str = LIST, **data: Any) -> Any:
    """Choose rows and an action; with ``post="yes"``, as from the page that asks."""
    keys = [str(row.pk) for row in rows]
    return client.post(url, {"action": action, "_selected_action": keys, **data}, follow=True)
