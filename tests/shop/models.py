"""Something to export."""

from django.db import models


class Customer(models.Model):
    """Somebody who orders."""

    name = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.name


class Order(models.Model):
    """Something ordered."""

    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="orders")
    reference = models.CharField(max_length=20)
    total = models.DecimalField(max_digits=10, decimal_places=2)
    status = models.CharField(max_length=20, default="open")

    def __str__(self) -> str:
        return self.reference
