"""People of the site on the pages."""

from typing import Any

from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType

from tests.factories import UserFactory

__all__ = ["person_who_may_view_orders"]


def person_who_may_view_orders(**values: Any) -> Any:
    """Return a new user with the permission of the site's app, which is not one of the tests'."""
    user: Any = UserFactory(**values)
    kind, _ = ContentType.objects.get_or_create(app_label="orders", model="order")
    permission, _ = Permission.objects.get_or_create(
        content_type=kind, codename="view_order", defaults={"name": "Can view order"}
    )
    user.user_permissions.add(permission)
    return user
