"""Fill an empty shop with users, customers, products and orders, in seconds."""

import os
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final

import factory
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.db import connection, transaction
from django.utils import timezone
from factory.random import randgen, reseed_random

from demo.shop.factories import (
    ARTICLES,
    COLOURS,
    CustomerFactory,
    OrderFactory,
    ProductFactory,
    UserFactory,
)
from demo.shop.models import Customer, Order, Product
from demo.shop.people import SIGN_INS

__all__ = ["ORDERS", "seed"]

#: How many orders. ``DEMO_ORDERS`` changes it.
ORDERS: Final = int(os.environ.get("DEMO_ORDERS", 200_000))
CUSTOMERS: Final = 800

#: Orders that the factory builds. Each is the pattern of about a hundred orders, because the
#: factory takes several times as long to build one as the database to insert it.
PATTERNS: Final = 2_000

#: The newest orders, which are not delivered yet.
OPEN_ORDERS: Final = 300
OPEN_STATUSES: Final = ("new", "paid", "shipped")

#: Rows in one insert. No more are in memory at a time.
BATCH_SIZE: Final = 10_000

#: For the driver's ``executemany``, which is several times as fast as ``bulk_create``.
INSERT_ORDER: Final = """
    INSERT INTO shop_order
        (reference, placed_at, customer_id, product_id, quantity, unit_price, status)
    VALUES (%s, %s, %s, %s, %s, %s, %s)
"""

#: The age of the oldest order.
SPAN: Final = timedelta(days=730)


def seed() -> bool:
    """Insert users, customers, products and orders, unless there are orders.

    Returns:
        Whether it inserted anything.
    """
    # In one transaction: an interrupted start leaves an empty shop for the next one.
    with transaction.atomic():
        if Order.objects.exists():
            return False
        # The shop is the same everywhere, so that people can compare screenshots and reports.
        reseed_random("alder and quill")
        _make_customers()
        ProductFactory.reset_sequence(0)
        Product.objects.bulk_create(ProductFactory.build_batch(len(ARTICLES) * len(COLOURS)))
        _insert(_orders(list(Customer.objects.all()), list(Product.objects.all())))
    return True


def _make_customers() -> None:
    users = get_user_model().objects.bulk_create(
        UserFactory.build(
            username=person.username,
            password=person.password,
            first_name=person.full_name.split()[0],
            last_name=person.full_name.split()[1],
            is_staff=person.is_staff,
            is_superuser=person.is_staff,
        )
        for person in SIGN_INS
    )
    for person, user in zip(SIGN_INS, users, strict=True):
        if person.team:
            user.groups.add(Group.objects.get_or_create(name=person.team)[0])
        if person.leads_team:
            user.user_permissions.add(Permission.objects.get(codename="clear_team_downloads"))
    CustomerFactory.reset_sequence(0)
    Customer.objects.bulk_create(
        [
            *(
                CustomerFactory.build(user=user, name=user.get_full_name(), email=user.email)
                for user in users
                if not user.is_staff
            ),
            *CustomerFactory.build_batch(CUSTOMERS),
        ]
    )


def _orders(
    customers: Sequence[Customer], products: Sequence[Product]
) -> Iterator[tuple[Any, ...]]:
    """Yield orders as rows of ``INSERT_ORDER``, the oldest first."""
    patterns = [
        (order.customer_id, order.product_id, order.quantity, order.unit_price, order.status.value)
        for order in OrderFactory.build_batch(
            PATTERNS,
            customer=factory.LazyFunction(lambda: randgen.choice(customers)),
            product=factory.LazyFunction(lambda: randgen.choice(products)),
        )
    ]
    now = timezone.now()
    for number in range(ORDERS):
        left = ORDERS - number
        *values, status = randgen.choice(patterns)
        if left <= OPEN_ORDERS:
            status = randgen.choice(OPEN_STATUSES)
        placed_at = connection.ops.adapt_datetimefield_value(_moment(now, left))
        yield (f"SO-{number + 1:06d}", placed_at, *values, status)


def _insert(orders: Iterator[tuple[Any, ...]]) -> None:
    with connection.cursor() as cursor:
        while batch := list(islice(orders, BATCH_SIZE)):
            cursor.executemany(INSERT_ORDER, batch)


def _moment(now: datetime, left: float) -> datetime:
    """Return when an order was placed that ``left`` others follow. Orders are spread evenly."""
    return now - SPAN * ((left - randgen.random()) / ORDERS)
