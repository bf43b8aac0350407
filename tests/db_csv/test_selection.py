"""The expressions of the cells of a queryset."""

import pytest
from django.db.models import Count, F
from django.db.models.expressions import Col

from async_downloads.db_csv.selection import expressions_of
from tests.shop.models import Customer, Order

pytestmark = [pytest.mark.any_database, pytest.mark.django_db]


def test_expressions_come_in_the_order_of_the_cells() -> None:
    queryset = Order.objects.annotate(name=F("customer__name")).order_by("status")
    found = expressions_of(queryset.values_list("name", "total", "customer"))
    assert [type(each) for each in found] == [Col, Col, Col]
    assert [each.target.name for each in found] == ["name", "total", "customer"]


def test_the_queryset_stays_as_it_is(django_assert_num_queries: object) -> None:
    names = (
        Customer.objects.values_list("name")
        .order_by()
        .union(Order.objects.values_list("reference").order_by(), all=True)
    )
    assert len(expressions_of(names.order_by("name"))) == 1
    counted = Customer.objects.values_list("name", Count("orders"))
    with django_assert_num_queries(1):  # type: ignore[operator]
        assert [len(expressions_of(counted)) for _ in range(2)] == [2, 2]
        assert list(counted) == []
