"""Resolving the ``user`` argument to an owner."""

import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser, Group
from django.core.exceptions import ObjectDoesNotExist
from django.db import connection, models
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.test.utils import isolate_apps
from django.utils.functional import SimpleLazyObject

from async_downloads import cache, owners
from async_downloads.models import Download, DownloadCollection
from async_downloads.owners import MAX_LABEL_LENGTH, Owner, resolve
from tests.factories import CustomerFactory, UserFactory
from tests.shop.models import Customer

User = get_user_model()

NAMES = [
    "bob@example.com",
    "a+b-c_d.e",
    "Łucja Ćwikła",
    "名前",
    "with several spaces",
    "x" * 150,
]


def test_a_user_is_resolved_without_a_query(user: Any, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert resolve(user) == Owner(user.pk, "ada")


def test_a_primary_key_is_resolved_by_one_query(user: Any, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        assert resolve(user.pk) == Owner(user.pk, "ada")


def test_a_user_name_is_resolved_by_one_query(user: Any, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        assert resolve("ada") == Owner(user.pk, "ada")


def test_any_other_text_is_resolved_to_itself_by_one_query(
    user: Any, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(1):
        assert resolve("nightly reports") == Owner(None, "nightly reports")


def test_the_lazy_user_of_a_request_means_the_user(signed_in: Client, user: Any) -> None:
    request: HttpRequest = signed_in.get("/").wsgi_request
    assert isinstance(request.user, SimpleLazyObject)
    owner = resolve(request.user)
    assert owner == Owner(user.pk, "ada")
    # It holds no lazy object, because it goes into keys and into another thread.
    assert type(owner.user_id) is int
    assert type(owner.name) is str


def test_an_inactive_user_still_owns_downloads() -> None:
    inactive = User(pk=7, username="gone", is_active=False)
    assert resolve(inactive) == Owner(7, "gone")


@pytest.mark.django_db
@pytest.mark.parametrize("name", NAMES)
def test_any_user_name_that_django_accepts_is_resolved(name: str) -> None:
    user = UserFactory(username=name)
    assert resolve(name) == resolve(user) == resolve(user.pk) == Owner(user.pk, name)


@pytest.mark.django_db
@pytest.mark.parametrize("text", [*NAMES, "team (north) / 2026", "x" * 300, "x" * MAX_LABEL_LENGTH])
def test_any_text_can_stand_for_itself(text: str) -> None:
    assert resolve(text) == Owner(None, text)
    assert resolve(text).collection_key == f"async_downloads/{text}"


def test_a_text_that_spells_a_primary_key_is_not_that_user(user: Any) -> None:
    owner = resolve(str(user.pk))
    assert owner.user_id is None
    assert owner.name == str(user.pk)


def test_a_user_who_is_called_like_a_primary_key_is_found_by_name(user: Any) -> None:
    namesake = UserFactory(username=str(user.pk))
    assert resolve(str(user.pk)) == Owner(namesake.pk, str(user.pk))
    assert resolve(user.pk) == Owner(user.pk, "ada")


#: A name, and texts that a collation of MariaDB (or a nondeterministic one of PostgreSQL) takes
#: for it: other case, accents, trailing spaces, ignored characters, expanded letters.
SIMILAR = [
    *(("ada", text) for text in ("ADA", "Ada", "ada ", " ada", "ädá", "ad\u00ada", "ada\u200b")),
    *(("jose", text) for text in ("josé", "JOSÉ", "jose\u0301", "josè")),
    *(("josé", text) for text in ("jose", "JOSÉ", "josé ")),
    ("strasse", "straße"),
    ("straße", "strasse"),
    ("kelvin", "Kelvin"),
    ("иван", "ИВАН"),
    ("ada@example.com", "Ada@example.com"),
]


@pytest.mark.django_db
@pytest.mark.parametrize(("name", "similar"), SIMILAR)
def test_a_text_that_a_collation_takes_for_a_name_stands_for_itself(
    name: str, similar: str
) -> None:
    user = UserFactory(username=name)
    assert resolve(similar) == Owner(None, similar)
    assert cache.get_username(similar) == similar
    assert cache.get_collection_key(similar) == f"async_downloads/{similar}"
    cache.init_download(similar, "a.csv")
    assert not Download.objects.for_user(user.pk).exists()
    assert resolve(name) == Owner(user.pk, name)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "spelled"), [("josé", "jose\u0301"), ("ada", "\uff41\uff44\uff41"), ("fin", "\ufb01n")]
)
def test_a_text_is_resolved_by_its_normalized_spelling(name: str, spelled: str) -> None:
    # As the user model spells every name before it is saved, and at a sign-in.
    user = UserFactory(username=name)
    assert User.normalize_username(spelled) == name
    assert resolve(spelled) == Owner(user.pk, name)


@pytest.mark.django_db
def test_the_text_as_it_is_comes_before_its_normalized_spelling() -> None:
    if connection.vendor == "mysql":
        pytest.skip("The database takes both for one name, which must be unique.")
    normal, other = (UserFactory(username=name) for name in ("fin", "\ufb01n"))
    assert resolve("\ufb01n") == Owner(other.pk, "\ufb01n")
    assert resolve("fin") == Owner(normal.pk, "fin")


@pytest.mark.django_db
def test_a_name_that_two_users_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(User, "USERNAME_FIELD", "first_name")
    for name in ("Ada", "Ada", "Grace"):
        UserFactory(first_name=name)
    with pytest.raises(ValueError, match="'Ada' is the name of more than one user"):
        resolve("Ada")
    assert resolve("ADA") == Owner(None, "ADA")
    assert resolve("Grace").name == "Grace"


@pytest.fixture
def member(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Yield a user with a text as primary key, who signs in by a number."""
    with isolate_apps("tests.shop"):

        class Member(AbstractBaseUser):
            code = models.CharField(max_length=20, primary_key=True)
            number = models.IntegerField(unique=True)

            USERNAME_FIELD = "number"

            class Meta:
                app_label = "shop"

    monkeypatch.setattr(owners, "get_user_model", lambda: Member)
    with connection.schema_editor() as editor:
        editor.create_model(Member)
    yield Member._base_manager.create(code="ada", number=1815)
    with connection.schema_editor() as editor:
        editor.delete_model(Member)


def test_a_text_is_a_primary_key_only_if_it_is_the_same_text(member: Any) -> None:
    assert resolve("ada") == Owner("ada", "1815")
    assert resolve("1815") == Owner("ada", "1815")
    for text in ("ADA", "ada ", "ädá", "1816", "18 15"):
        assert resolve(text) == Owner(None, text)


@pytest.mark.django_db
@pytest.mark.parametrize("similar", ["REPORTS", "reports ", "réports"])
def test_texts_that_resemble_each_other_are_different_owners(similar: str) -> None:
    key, _ = cache.init_download("reports", "a.csv")
    other_key, _ = cache.init_download(similar, "b.csv")
    assert key != other_key
    names = DownloadCollection.objects.values_list("key", "downloads__name")
    assert set(names) == {(key, "a.csv"), (other_key, "b.csv")}


@pytest.mark.parametrize(
    "visitor",
    [AnonymousUser(), SimpleLazyObject(AnonymousUser)],
    ids=["anonymous", "lazy anonymous"],
)
def test_an_anonymous_visitor_owns_nothing(visitor: Any) -> None:
    with pytest.raises(ValueError, match="anonymous"):
        resolve(visitor)


def test_the_lazy_user_of_a_visitor_owns_nothing(rf: RequestFactory) -> None:
    request = rf.get("/")
    request.user = AnonymousUser()
    with pytest.raises(ValueError, match="anonymous"):
        resolve(request.user)


def test_a_user_who_is_not_saved_owns_nothing() -> None:
    with pytest.raises(ValueError, match="not saved"):
        resolve(User(username="new"))


@pytest.mark.parametrize("wrong", [None, True, False, 1.0, float("nan"), b"ada", b""])
def test_a_value_that_cannot_name_an_owner_is_a_type_error(wrong: object) -> None:
    # Not marked django_db: a query would fail the test. True is 1, and so some user's key.
    with pytest.raises(TypeError, match=type(wrong).__name__):
        resolve(wrong)


@pytest.mark.django_db
@pytest.mark.parametrize("wrong", [[1], {}, (1, 2), object(), Exception()])
def test_a_value_that_cannot_be_a_primary_key_is_a_type_error(wrong: object) -> None:
    with pytest.raises(TypeError, match="user must be"):
        resolve(wrong)


def test_a_number_that_only_rounds_to_a_primary_key_is_not_that_user(user: Any) -> None:
    # Django's integer fields drop the fraction.
    with pytest.raises((TypeError, ObjectDoesNotExist)):
        resolve(Decimal(user.pk) + Decimal("0.5"))


@pytest.mark.parametrize("empty", ["", " ", "\t\n", "\u3000"])
def test_an_empty_text_is_a_value_error(empty: str) -> None:
    with pytest.raises(ValueError, match="empty"):
        resolve(empty)


def test_a_text_that_is_too_long_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="longer than 500"):
        resolve("x" * (MAX_LABEL_LENGTH + 1))


@pytest.mark.django_db
@pytest.mark.parametrize("broken", ["a\x00b", "\ud800"])
def test_a_text_that_no_database_can_hold_is_a_value_error(broken: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (each database words it in its own way)
        resolve(broken)


@pytest.mark.django_db
@pytest.mark.parametrize("unknown", [987654321, -1, 0, 2**70, uuid.UUID(int=2**70)])
def test_an_unknown_primary_key_does_not_exist(unknown: object) -> None:
    with pytest.raises(User.DoesNotExist, match="No user has the primary key"):
        resolve(unknown)


def test_the_collection_key_carries_the_primary_key(user: Any, settings: Any) -> None:
    assert resolve("ada").collection_key == f"async_downloads/{user.pk}"
    settings.ASYNC_DOWNLOADS_COLLECTION_KEY_FORMAT = "mine:{}:theirs"
    assert resolve("ada").collection_key == f"mine:{user.pk}:theirs"
    assert resolve("team").collection_key == "mine:team:theirs"


def test_braces_in_a_text_are_not_formatted() -> None:
    assert Owner(None, "{0.__class__}").collection_key == "async_downloads/{0.__class__}"


def test_an_owner_cannot_be_changed_and_can_be_a_key(user: Any) -> None:
    owner = owners.resolve(user)
    with pytest.raises(AttributeError):
        owner.user_id = 1  # type: ignore[misc]
    assert {owner: 1}[resolve("ada")] == 1


# Any other model instance


@pytest.mark.django_db
def test_a_saved_instance_stands_for_itself_without_a_query(django_assert_num_queries: Any) -> None:
    group = Group.objects.create(name="Sales")
    with django_assert_num_queries(0):
        assert resolve(group) == Owner(None, f"auth.group:{group.pk}")


@pytest.mark.django_db
def test_instances_of_two_models_with_one_key_are_two_owners() -> None:
    group, customer = Group.objects.create(pk=7, name="Sales"), CustomerFactory(pk=7)
    assert resolve(group).collection_id != resolve(customer).collection_id
    assert resolve(customer).name == "shop.customer:7"


@pytest.mark.django_db
def test_a_user_whose_name_looks_like_an_instance_is_not_that_instance() -> None:
    group = Group.objects.create(name="Sales")
    UserFactory(username=f"auth.group:{group.pk}")
    assert resolve(group).user_id is None


@pytest.mark.parametrize("instance", [Group(name="new"), Group(pk=7, name="new")])
def test_an_instance_that_is_not_saved_is_refused(instance: Any) -> None:
    with pytest.raises(ValueError, match="is not saved yet"):
        resolve(instance)


@isolate_apps("tests.shop")
def test_a_proxy_stands_for_the_same_owner_as_its_model() -> None:
    class Proxy(Customer):
        class Meta:
            proxy = True
            app_label = "shop"

    instances = [model(pk=7) for model in (Customer, Proxy)]
    for instance in instances:
        instance._state.adding = False
    assert {resolve(instance).name for instance in instances} == {"shop.customer:7"}


class TestMany:
    def test_each_is_the_owner_that_one_would_be(self, user: Any) -> None:
        other, odd = UserFactory(username="josé"), UserFactory(username=str(user.pk))
        users = [user, other.pk, "ada", "jose", "jose\u0301", str(user.pk), "team", user]
        resolved = owners.resolve_all(users)
        assert [each and each[0] for each in resolved] == list(map(resolve, users))
        assert [each and each[1] for each in resolved] == [
            *(user, other, user, "jose", other, odd, "team", user)
        ]

    def test_they_cost_a_query_for_each_kind(
        self, db: None, django_assert_num_queries: Any
    ) -> None:
        people = [UserFactory() for _ in range(20)]
        with django_assert_num_queries(0):
            owners.resolve_all(people)
        with django_assert_num_queries(1):
            owners.resolve_all([person.pk for person in people])
        with django_assert_num_queries(1):
            owners.resolve_all([person.username for person in people] + ["team north"])

    @pytest.mark.django_db
    def test_a_key_that_no_user_has_is_none(self) -> None:
        unknown = [987654321, -1, 0, 2**70, uuid.UUID(int=2**70)]
        assert owners.resolve_all(unknown) == [None] * len(unknown)

    @pytest.mark.django_db
    @pytest.mark.parametrize("wrong", [None, True, 1.0, b"ada", [1], {}, object()])
    def test_a_value_that_cannot_name_an_owner_is_a_type_error(self, wrong: object) -> None:
        with pytest.raises(TypeError, match="user must be"):
            owners.resolve_all(["team", wrong])

    @pytest.mark.django_db
    @pytest.mark.parametrize("wrong", ["", "a\x00b", "x" * 501, AnonymousUser(), User()])
    def test_one_that_cannot_own_downloads_is_a_value_error(self, wrong: object) -> None:
        with pytest.raises(ValueError):  # noqa: PT011 (each has words of its own)
            owners.resolve_all(["team", wrong])

    def test_names_that_are_not_texts_are_found_as_well(self, member: Any) -> None:
        texts = ["ada", "1815", "ADA", "1816", "18 15"]
        resolved = owners.resolve_all(texts)
        assert [each and each[0] for each in resolved] == list(map(resolve, texts))

    def test_those_whose_row_is_gone_are_known(self, user: Any) -> None:
        gone = Owner(987654321, "gone")
        assert owners.deleted([resolve(user), gone, Owner(None, "team")]) == [gone]
