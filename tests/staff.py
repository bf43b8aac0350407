"""Sign staff in to the admin, and read its pages."""

import re
from html import unescape
from typing import Any, Final

from django.contrib.auth.models import Permission
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse

from tests.factories import UserFactory

LIST: Final = "/admin/async_downloads/download/"
COLLECTIONS: Final = "/admin/async_downloads/downloadcollection/"


def client_of(user: Any) -> Client:
    """Return a client that is signed in."""
    client = Client()
    client.force_login(user)
    return client


def staff_with(*permissions: str) -> Client:
    """Return a client of a staff user who has only these permissions."""
    staff = UserFactory(is_staff=True)
    staff.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return client_of(staff)


def detail(row: Any) -> str:
    """Return the page of a row."""
    return reverse(f"admin:async_downloads_{row._meta.model_name}_change", args=[row.pk])


def text(client: Client, url: str, **query: Any) -> str:
    """Return the text of a page."""
    response = client.get(url, query)
    assert response.status_code == 200
    return response.content.decode()


def messages_of(response: Any) -> list[tuple[str, str]]:
    """Return the levels and the texts of the messages for the person."""
    return [(each.level_tag, str(each)) for each in get_messages(response.wsgi_request)]


def listed(client: Client, **query: Any) -> set[str]:
    """Return the names in the list of downloads."""
    cells = re.findall(r'<th class="field-name"><a[^>]*>(.*?)</a>', text(client, LIST, **query))
    return {unescape(cell) for cell in cells}


def chosen(client: Client, action: str, rows: Any, *, url: str = LIST, **data: Any) -> Any:
    """Choose rows and an action; with ``post="yes"``, as from the confirmation page."""
    keys = [str(row.pk) for row in rows]
    return client.post(url, {"action": action, "_selected_action": keys, **data}, follow=True)
