"""The base class of mixins for a ModelAdmin."""

from typing import TYPE_CHECKING, Any

__all__ = ["ModelAdminMixin"]

if TYPE_CHECKING:
    from django.contrib import admin

    # Django's own class takes no type arguments at run time.
    ModelAdminMixin = admin.ModelAdmin[Any]
else:
    ModelAdminMixin = object
