"""A user model without a field ``username``."""

import uuid

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models


class Member(AbstractBaseUser):
    """A user who signs in with an e-mail address."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    email = models.EmailField(unique=True)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)

    USERNAME_FIELD = "email"

    objects: BaseUserManager["Member"] = BaseUserManager()

    def __str__(self) -> str:
        return self.email

    def has_perm(self, permission: str, obj: object = None) -> bool:
        """Return True for staff."""
        return self.is_staff

    def has_module_perms(self, app_label: str) -> bool:
        """Return True for staff."""
        return self.is_staff
