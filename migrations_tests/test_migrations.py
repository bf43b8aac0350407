"""The migrations: they are complete, run both ways, and touch no table of the site."""

import re
import shutil
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings as project_settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, connection, models, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django_q.models import Schedule

from async_downloads import cache
from async_downloads.executors import django_q_schedule
from async_downloads.models import Download, DownloadCollection
from tests.shop.models import Customer, Order

APP = "async_downloads"

pytestmark = pytest.mark.django_db(transaction=True)


def migrate(target: str | None = None) -> None:
    call_command("migrate", APP, *([target] if target else []), verbosity=0)


@pytest.fixture(autouse=True)
def no_file_left_behind() -> Iterator[None]:
    """Remove stored files: emptying the tables deletes rows without their files."""
    yield
    shutil.rmtree(project_settings.MEDIA_ROOT, ignore_errors=True)


@pytest.fixture
def migrated_again() -> Iterator[None]:
    """Leave the tables in place for the next test."""
    yield
    migrate()


def tables() -> set[str]:
    with connection.cursor() as cursor:
        names = connection.introspection.table_names(cursor)
    return {name for name in names if name.startswith(APP)}


def constraints(model: type[models.Model]) -> dict[str, dict[str, Any]]:
    with connection.cursor() as cursor:
        found: dict[str, dict[str, Any]] = connection.introspection.get_constraints(
            cursor, model._meta.db_table
        )
    return found


# Complete


def test_no_migration_is_missing() -> None:
    call_command("makemigrations", APP, check=True, dry_run=True, verbosity=0)


def test_the_migrations_have_one_leaf_without_conflicts() -> None:
    assert MigrationLoader(connection).detect_conflicts() == {}
    assert len(MigrationLoader(connection).graph.leaf_nodes(APP)) == 1


def test_they_depend_on_the_user_model_alone() -> None:
    loader = MigrationLoader(None)
    for key, migration in loader.disk_migrations.items():
        if key[0] == APP:
            others = {app for app, _ in migration.dependencies} - {APP}
            assert others <= {"auth", "__setting__"}, key


# Both ways


def test_migrating_back_and_forward_keeps_other_tables(migrated_again: None) -> None:
    user = get_user_model().objects.create(username="ada")
    order = Order.objects.create(
        customer=Customer.objects.create(name="Grace"), reference="R1", total="1.50"
    )
    foreign = Schedule.objects.create(func="site.tasks.report", name="Report")
    _, key = cache.init_download(user, "a.csv")
    cache.save_download(key, [["a"]])
    before = tables()
    assert before == {
        "async_downloads_download",
        "async_downloads_downloadcollection",
        "async_downloads_exportpreset",
        "async_downloads_fetchrecord",
        "async_downloads_lastexport",
    }

    migrate("zero")
    assert tables() == set()
    assert (
        MigrationExecutor(connection)
        .loader.applied_migrations.keys()
        .isdisjoint(node for node in MigrationLoader(None).disk_migrations if node[0] == APP)
    )

    migrate()
    assert tables() == before
    assert not Download.objects.exists()
    assert get_user_model().objects.get(username="ada") == user
    assert Order.objects.get().customer.name == "Grace"
    assert Order.objects.get() == order
    assert Schedule.objects.filter(pk=foreign.pk).exists()
    # A new download works as before.
    _, key = cache.init_download(user, "b.csv")
    cache.save_download(key, [["b"]])
    assert Download.objects.get().complete


def test_rows_survive_migrating_again() -> None:
    _, key = cache.init_download("team", "a.csv")
    before = Download.objects.values().get(pk=key)
    call_command("migrate", verbosity=0)
    assert Download.objects.values().get(pk=key) == before


def test_migrating_back_and_forward_leaves_one_schedule_of_each_job(migrated_again: None) -> None:
    # The receiver that installs it also runs after migrating back, without our tables.
    migrate("zero")
    migrate()
    for path in (django_q_schedule.CLEANUP_PATH, django_q_schedule.RESCUE_PATH):
        assert Schedule.objects.filter(func=path).count() == 1


# Constraints


def collection(**fields: Any) -> DownloadCollection:
    return DownloadCollection.objects.create(id=uuid.uuid4(), key="key", **fields)


def download(**fields: Any) -> Download:
    fields.setdefault("filepath", "downloads/x/a.csv")
    return Download.objects.create(
        collection=collection(label="team"), name="a", filename="a.csv", **fields
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"percentage": 101},
        {"percentage": 32767},
        {"state": "purple"},
        {"state": ""},
        {"state": "COMPLETE"},
        {"state": "complete"},
        {"state": "complete", "percentage": 100},
        {"state": "complete", "percentage": 99, "size": 4},
        {"state": "complete", "percentage": 100, "size": 4, "filepath": ""},
        {"size": None, "state": "complete", "percentage": 100},
    ],
    ids=str,
)
def test_an_impossible_download_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        download(**fields)
    assert not Download.objects.exists()


@pytest.mark.parametrize("percentage", [-1, 101])
def test_an_update_past_the_range_is_refused(percentage: int) -> None:
    row = download()
    # MariaDB has an unsigned column, and rejects -1 as wrong data.
    with pytest.raises(DatabaseError), transaction.atomic():
        Download.objects.update(percentage=percentage)
    assert Download.objects.get().percentage == row.percentage


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"percentage": 100},
        {"state": "running", "percentage": 0},
        {"state": "failed", "percentage": 40},
        {"state": "complete", "percentage": 100, "size": 0},
        {"state": "complete", "percentage": 100, "size": 2**62},
        {"expires_at": None, "claim": None, "started_at": None, "finished_at": None},
    ],
    ids=str,
)
def test_a_possible_download_is_accepted(fields: dict[str, Any]) -> None:
    download(**fields)
    Download.objects.get().full_clean()


def test_a_collection_of_two_owners_is_refused() -> None:
    user = get_user_model().objects.create(username="ada")
    with pytest.raises(IntegrityError), transaction.atomic():
        collection(user=user, label="team")


def test_a_second_collection_of_a_user_is_refused() -> None:
    user = get_user_model().objects.create(username="ada")
    collection(user=user)
    with pytest.raises(IntegrityError), transaction.atomic():
        collection(user=user)


def test_a_download_without_a_collection_is_refused() -> None:
    with pytest.raises(IntegrityError):
        Download.objects.create(collection_id=uuid.uuid4(), name="a", filename="a")


def test_a_user_can_be_deleted_with_their_downloads() -> None:
    user = get_user_model().objects.create(username="ada")
    cache.init_download(user, "a.csv")
    user.delete()
    assert not DownloadCollection.objects.exists()
    assert not Download.objects.exists()


# Indexes


@pytest.mark.parametrize(
    ("model", "columns"),
    [
        (Download, ["timestamp", "id"]),
        (Download, ["collection_id", "timestamp"]),
        (Download, ["expires_at"]),
        (Download, ["state", "heard_at"]),
        (DownloadCollection, ["key"]),
        (DownloadCollection, ["user_id"]),
    ],
    ids=str,
)
def test_each_search_has_an_index(model: type[models.Model], columns: list[str]) -> None:
    searchable = [
        each["columns"] for each in constraints(model).values() if each["index"] or each["unique"]
    ]
    assert columns in searchable


def test_no_index_is_a_prefix_of_another() -> None:
    # Each index costs every write; the index of the foreign key would be such a prefix.
    indexes = {
        tuple(item["columns"])
        for item in constraints(Download).values()
        if item["index"] and not item["primary_key"] and item["columns"]
    }
    assert not [(a, b) for a in indexes for b in indexes if a != b and b[: len(a)] == a]


def test_the_list_of_one_owner_uses_its_index() -> None:
    listing = Download.objects.filter(collection_id=uuid.uuid4()).newest_first()
    if connection.vendor == "postgresql":
        # On an empty table a scan is always cheaper.
        with connection.cursor() as cursor:
            cursor.execute("SET enable_seqscan = off")
        plan = listing.explain()
        with connection.cursor() as cursor:
            cursor.execute("RESET enable_seqscan")
    else:
        plan = listing.explain()
    assert "async_downloads_list" in plan


# Statements


def our_migrations() -> list[tuple[str, str]]:
    return sorted(key for key in MigrationLoader(None).disk_migrations if key[0] == APP)


def statements(name: str, *, backwards: bool = False) -> list[str]:
    executor = MigrationExecutor(connection)
    plan = [(executor.loader.get_migration(APP, name), backwards)]
    changes = []
    for statement in executor.loader.collect_sql(plan):
        text = re.sub(r"^\s*--.*$", "", statement, flags=re.MULTILINE).strip()
        if text and text not in ("BEGIN;", "COMMIT;"):
            changes.append(text)
    return changes


#: The table that a statement changes; one that it only refers to does not count.
TARGET = re.compile(
    r"""^(?:CREATE\ TABLE|ALTER\ TABLE|DROP\ TABLE|INSERT\ INTO|UPDATE|DELETE\ FROM
        |CREATE\ (?:UNIQUE\ )?INDEX\ \S+\ ON|TRUNCATE|LOCK\ TABLES?|RENAME\ TABLE
        |DROP\ INDEX(?:\ IF\ EXISTS)?(?:\ \S+\ ON)?)\s+["`]?(?P<table>\w+)""",
    re.VERBOSE | re.IGNORECASE,
)


@pytest.mark.parametrize("backwards", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("name", [name for _, name in our_migrations()])
def test_a_migration_touches_no_table_of_the_site(name: str, backwards: bool) -> None:
    changes = statements(name, backwards=backwards)
    operations = MigrationLoader(None).get_migration(APP, name).operations
    # Permissions are rows of Django, made after a migration.
    assert changes or {type(each).__name__ for each in operations} == {"AlterModelOptions"}
    for statement in changes:
        if statement.startswith("SET CONSTRAINTS"):
            # It names one constraint of our tables.
            assert f'"{APP}' in statement
            continue
        target = TARGET.match(statement)
        assert target, f"not known to be harmless: {statement}"
        # SQLite creates a table anew under another name.
        assert target["table"].removeprefix("new__").startswith(APP), statement


@pytest.mark.parametrize("name", [name for _, name in our_migrations()])
def test_a_migration_runs_no_code_and_no_sql_by_hand(name: str) -> None:
    # Neither shows in the statements that the test above reads.
    migration = MigrationLoader(None).get_migration(APP, name)
    kinds = {type(operation).__name__ for operation in migration.operations}
    assert not kinds & {"RunPython", "RunSQL", "SeparateDatabaseAndState"}


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        ('ALTER TABLE "auth_user" ADD COLUMN "x" integer', "auth_user"),
        ('CREATE INDEX "x" ON "auth_user" ("email")', "auth_user"),
        ("UPDATE `shop_order` SET total = 0", "shop_order"),
        ('LOCK TABLE "auth_user"', "auth_user"),
    ],
)
def test_the_pattern_finds_statements_on_tables_of_the_site(statement: str, table: str) -> None:
    target = TARGET.match(statement)
    assert target
    assert target["table"] == table
