"""Models to export."""

from django.db import models


class Customer(models.Model):
    """A person who orders."""

    name = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.name


class Order(models.Model):
    """An order of a customer."""

    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="orders")
    reference = models.CharField(max_length=20)
    total = models.DecimalField(max_digits=10, decimal_places=2)
    status = models.CharField(max_length=20, default="open")

    def __str__(self) -> str:
        return self.reference


class Specimen(models.Model):
    """One field of each kind that a database can print."""

    customer = models.ForeignKey(Customer, null=True, on_delete=models.SET_NULL)
    integer = models.IntegerField(null=True)
    big = models.BigIntegerField(null=True)
    small = models.PositiveSmallIntegerField(null=True)
    flag = models.BooleanField(null=True)
    amount = models.DecimalField(null=True, max_digits=12, decimal_places=2)
    precise = models.DecimalField(null=True, max_digits=15, decimal_places=6)
    ratio = models.FloatField(null=True)
    text = models.TextField(null=True)  # noqa: DJ001 (NULL is printed beside empty text)
    short = models.CharField(null=True, max_length=50)  # noqa: DJ001
    slug = models.SlugField(default="a-slug")
    email = models.EmailField(default="ada@example.com")
    link = models.URLField(default="https://example.com/?a=1,2")
    file = models.FileField(default="a/file.csv")
    day = models.DateField(null=True)
    moment = models.DateTimeField(null=True)
    clock = models.TimeField(null=True)
    span = models.DurationField(null=True)
    uid = models.UUIDField(null=True)
    address = models.GenericIPAddressField(null=True)
    blob = models.BinaryField(null=True)
    data = models.JSONField(null=True)
    choice = models.CharField(max_length=1, choices=[("a", "Apple"), ("b", "Pear")], default="a")

    def __str__(self) -> str:
        return str(self.pk)


class SortedSpecimen(Specimen):
    """The same, in an order of its own, by columns that need not be selected."""

    class Meta:
        proxy = True
        ordering = ("email", "-text", "pk")
