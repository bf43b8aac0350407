"""Factories for the rows of the tests."""

import uuid
from datetime import timedelta
from typing import Any

import factory
from django.contrib.auth import get_user_model
from django.core.files.base import ContentFile
from django.utils import timezone
from factory.django import DjangoModelFactory

from async_downloads.files import storage
from async_downloads.files.names import path_for
from async_downloads.models import Download, DownloadCollection, DownloadState
from async_downloads.owners import Owner
from tests.shop.models import Customer, Order

FILE_CONTENT = b"a,b\n"


class UserFactory(DjangoModelFactory):
    """A user who can sign in."""

    class Meta:
        model = get_user_model()

    username = factory.Sequence(lambda n: f"user{n}")
    email = factory.LazyAttribute(lambda user: f"{user.username}@example.org")


def owner_of(collection: Any) -> Owner:
    """Return the owner of a collection that is being built."""
    if collection.user is None:
        return Owner(None, collection.label)
    return Owner(collection.user.pk, collection.user.get_username())


class DownloadCollectionFactory(DjangoModelFactory):
    """The collection of a new user."""

    class Meta:
        model = DownloadCollection
        django_get_or_create = ("id",)

    user = factory.SubFactory(UserFactory)
    label = ""
    id = factory.LazyAttribute(lambda collection: owner_of(collection).collection_id)
    key = factory.LazyAttribute(lambda collection: owner_of(collection).collection_key)


class DownloadFactory(DjangoModelFactory):
    """A download in any state; a complete one has its file in the storage."""

    class Meta:
        model = Download
        skip_postgeneration_save = True

    class Params:
        running = factory.Trait(
            state=DownloadState.RUNNING,
            claim=factory.LazyFunction(uuid.uuid4),
            attempts=1,
            started_at=factory.LazyFunction(timezone.now),
        )
        failed = factory.Trait(
            state=DownloadState.FAILED,
            attempts=1,
            errors="Something went wrong.",
            error_detail="Traceback: secret",
            finished_at=factory.LazyFunction(timezone.now),
        )
        complete = factory.Trait(
            state=DownloadState.COMPLETE,
            attempts=1,
            percentage=100,
            size=len(FILE_CONTENT),
            finished_at=factory.LazyFunction(timezone.now),
        )
        recorded = factory.Trait(
            task="tests.jobs.export",
            arguments="[[], {}]",
            times_queued=1,
        )
        expired = factory.Trait(
            expires_at=factory.LazyFunction(lambda: timezone.now() - timedelta(minutes=1)),
        )

    collection = factory.SubFactory(DownloadCollectionFactory)
    filename = factory.Sequence(lambda n: f"orders{n}.csv")
    name = factory.LazyAttribute(lambda download: download.filename)
    filepath = factory.LazyAttribute(lambda download: path_for(str(download.id), download.filename))
    id = factory.LazyFunction(uuid.uuid4)
    expires_at = factory.LazyFunction(lambda: timezone.now() + timedelta(days=1))

    @classmethod
    def _generate(cls, strategy: Any, params: dict[str, Any]) -> Any:
        # A trait that is not given costs an exception whose text lists all declarations.
        return super()._generate(strategy, {**dict.fromkeys(cls._meta.parameters, False), **params})

    @factory.post_generation
    def stored(download: Download, create: bool, extracted: Any, **kwargs: Any) -> None:  # noqa: N805
        """Store the file of a complete download."""
        if create and download.complete and extracted is not False:
            storage.storage().save(download.filepath, ContentFile(FILE_CONTENT))


class CustomerFactory(DjangoModelFactory):
    """A customer of the shop."""

    class Meta:
        model = Customer

    name = factory.Sequence(lambda n: f"Customer {n}")


class OrderFactory(DjangoModelFactory):
    """An order of the shop."""

    class Meta:
        model = Order

    customer = factory.SubFactory(CustomerFactory)
    reference = factory.Sequence(lambda n: f"R{n:06}")
    total = "19.90"
