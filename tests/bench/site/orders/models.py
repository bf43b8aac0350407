"""The orders of a shop: seven columns, one of them of a related model."""

from django.db import models


class Customer(models.Model):
    """A customer, who has a name."""

    name = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.name


class Order(models.Model):
    """An order of one product."""

    reference = models.CharField(max_length=20)
    placed_at = models.DateTimeField()
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT)
    product = models.CharField(max_length=100)
    quantity = models.PositiveSmallIntegerField()
    unit_price = models.DecimalField(max_digits=8, decimal_places=2)
    status = models.CharField(max_length=12, choices=[("new", "New"), ("shipped", "On its way")])

    def __str__(self) -> str:
        return self.reference
