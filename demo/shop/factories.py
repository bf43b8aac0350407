"""Factories for the objects of the shop.

They build objects and do not save them: ``seed`` inserts them in bulk.
"""

from datetime import timedelta
from decimal import Decimal
from typing import Final

import factory
from django.contrib.auth import get_user_model
from django.utils import timezone
from factory.random import randgen

from demo.shop.models import Customer, Order, Product

__all__ = ["CustomerFactory", "OrderFactory", "ProductFactory", "UserFactory"]

ARTICLES: Final = (
    ("Notebook, ruled", "7.90"),
    ("Notebook, dotted", "8.40"),
    ("Sketchbook", "12.50"),
    ("Fountain pen", "34.00"),
    ("Bottled ink", "11.20"),
    ("Pencil set", "9.80"),
    ("Letter paper, 50 sheets", "6.30"),
    ("Envelopes, 25", "4.10"),
    ("Sealing wax", "5.60"),
    ("Desk calendar", "14.90"),
    ("Café diary", "16.40"),
    ("Wrapping paper", "3.70"),
)
COLOURS: Final = ("moss", "slate", "ochre", "plum", "sand")


class UserFactory(factory.django.DjangoModelFactory):
    """A user who can sign in."""

    class Meta:
        model = get_user_model()

    username = factory.Sequence(lambda n: f"user{n}")
    email = factory.LazyAttribute(lambda user: f"{user.username}@example.com")
    password = factory.django.Password("demo")


class CustomerFactory(factory.django.DjangoModelFactory):
    """A customer with a made-up name."""

    class Meta:
        model = Customer

    name = factory.Faker("name")
    email = factory.Sequence(lambda n: f"customer{n}@example.com")
    city = factory.Faker("city")


class ProductFactory(factory.django.DjangoModelFactory):
    """An article in one colour."""

    class Meta:
        model = Product

    sku = factory.Sequence(lambda n: f"P-{n:03d}")
    name = factory.Sequence(
        lambda n: f"{ARTICLES[n % len(ARTICLES)][0]}, {COLOURS[n % len(COLOURS)]}"
    )
    price = factory.Sequence(lambda n: Decimal(ARTICLES[n % len(ARTICLES)][1]))


class OrderFactory(factory.django.DjangoModelFactory):
    """An order that is a month old and delivered or returned."""

    class Meta:
        model = Order

    reference = factory.Sequence(lambda n: f"SO-{n:06d}")
    placed_at = factory.LazyFunction(lambda: timezone.now() - timedelta(days=30))
    customer = factory.SubFactory(CustomerFactory)
    product = factory.SubFactory(ProductFactory)
    quantity = factory.LazyFunction(lambda: randgen.choice((1, 1, 1, 2, 2, 3, 5, 10)))
    unit_price = factory.LazyAttribute(lambda order: order.product.price)
    status = factory.Iterator([Order.Status.DELIVERED] * 14 + [Order.Status.RETURNED])
