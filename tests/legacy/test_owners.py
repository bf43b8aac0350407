"""Finding the owners that 0.6 knew by their user names."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model

from async_downloads import owners
from async_downloads.legacy.owners import resolve_names, user_names
from async_downloads.owners import Owner, resolve
from tests.factories import UserFactory


@pytest.mark.django_db
def test_the_names_of_all_users_come_in_batches(django_assert_num_queries: Any) -> None:
    for name in ("ada", "bob", "cyd"):
        UserFactory(username=name)
    with django_assert_num_queries(3):
        assert list(user_names(2)) == [["ada", "bob"], ["cyd"]]


def test_users_are_resolved_by_one_query(
    user: Any, other_user: Any, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(1):
        resolved = resolve_names(["ada", "grace", "", "a\0"])
    assert resolved == {"ada": resolve(user), "grace": resolve(other_user)}


@pytest.mark.django_db
def test_a_name_without_a_user_is_a_label() -> None:
    assert resolve_names(["team"]) == {"team": Owner(None, "team")}


@pytest.mark.django_db
@pytest.mark.parametrize("similar", ["ADA", "ada ", "ädá"])
def test_a_name_must_be_equal_whatever_the_collation(similar: str) -> None:
    UserFactory(username="ada")
    assert resolve_names([similar]) == {similar: Owner(None, similar)}


@pytest.mark.django_db
def test_a_name_that_two_users_have_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(get_user_model(), "USERNAME_FIELD", "first_name")
    for _ in range(2):
        UserFactory(first_name="Ada")
    assert resolve_names(["Ada", "team"]) == {"team": Owner(None, "team")}


def test_a_name_is_not_a_primary_key_even_if_a_text_can_be_one(
    user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owners, "_has_integer_key", lambda: False)
    name = str(user.pk)
    assert resolve(name) == resolve(user)
    assert resolve_names([name]) == {name: Owner(None, name)}
