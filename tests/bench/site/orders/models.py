"""Seven columns of a shop, one of them behind a relation."""

from django.db import models


class Customer(models.Model):
    """Somebody who orders."""

    name = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.name


class Order(models.Model):
    """Some pieces of something."""

    reference = models.CharField(max_length=20)
    placed_at = models.DateTimeField()
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT)
    product = models.CharField(max_length=100)
    quantity = models.PositiveSmallIntegerField()
    unit_price = models.DecimalField(max_digits=8, decimal_places=2)
    status = models.CharField(max_length=12)

    def __str__(self) -> str:
        return self.reference
