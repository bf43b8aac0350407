"""What the import contracts cannot see."""

import ast
import functools
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from django.utils.module_loading import import_string

import async_downloads

PACKAGE = Path(async_downloads.__file__).parent

#: Modules whose names Django or Python decide on, or that hold nothing.
WITHOUT_ALL = {
    "async_downloads",
    # Names are settings here, and made on access.
    "async_downloads.settings",
    # Django reads "app_name" and "urlpatterns", "Command", "Migration".
    "async_downloads.urls",
    "async_downloads.templatetags",
    "async_downloads.management",
    "async_downloads.management.commands",
    "async_downloads.management.commands.adopt_downloads",
    "async_downloads.management.commands.cleanup_downloads",
    "async_downloads.management.commands.downloads_status",
}


@functools.cache
def sources() -> dict[str, ast.Module]:
    """Return the syntax trees of all modules but the migrations, by their path."""
    return {
        path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text())
        for path in sorted(PACKAGE.rglob("*.py"))
        if "migrations" not in path.parts
    }


def modules() -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(async_downloads.__path__, "async_downloads."):
        if ".migrations" not in found.name:
            yield importlib.import_module(found.name)


def calls(tree: ast.AST, *methods: str) -> list[str]:
    """Return what is called by one of these names, as it is written."""
    return [
        ast.unparse(node.func)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in methods
    ]


def function(tree: ast.Module, name: str) -> ast.FunctionDef:
    return next(
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == name
    )


# Rows change by conditional updates


def test_nothing_saves_a_whole_instance_but_the_creation_of_a_download() -> None:
    found = {path: calls(tree, "save", "asave", "save_base") for path, tree in sources().items()}
    assert {path: saves for path, saves in found.items() if saves} == {
        # A function of ours, and a method of the storage's.
        "building/content.py": ["storage.save"],
        "files/storage.py": ["storage().save"],
        "store/creation.py": ["download.save"],
    }
    create = function(sources()["store/creation.py"], "_insert")
    assert calls(create, "save") == ["download.save"]


def test_the_creation_can_only_insert() -> None:
    create = function(sources()["store/creation.py"], "_insert")
    (save,) = [
        node
        for node in ast.walk(create)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "download.save"
    ]
    assert "force_insert=True" in ast.unparse(save)


def test_nothing_else_writes_whole_rows_of_ours() -> None:
    ways = ("bulk_update", "abulk_update", "update_or_create", "aupdate_or_create", "bulk_create")
    found = {path: calls(tree, *ways) for path, tree in sources().items()}
    # The first inserts new rows alone; the second inserts one collection, or refreshes the key
    # by which it is known.
    assert {path: writes for path, writes in found.items() if writes} == {
        "legacy/adoption.py": ["downloads().bulk_create"],
        "store/creation.py": ["collections.bulk_create"],
    }
    (insert,) = [
        node
        for node in ast.walk(sources()["legacy/adoption.py"])
        if isinstance(node, ast.Call) and "bulk_create" in ast.unparse(node.func)
    ]
    assert insert.keywords == []


def test_the_columns_that_a_run_writes_are_changed_in_one_module_only() -> None:
    # Elsewhere only what a collection is known by may be updated.
    found = {path: calls(tree, "update", "aupdate") for path, tree in sources().items()}
    outside = {
        path: [call for call in updates if "digest" not in call]
        for path, updates in found.items()
        if path != "models/downloads.py"
    }
    assert {path: updates for path, updates in outside.items() if updates} == {
        # A row of django-q2's, that nobody has edited.
        "executors/django_q_schedule.py": ["untouched.update"],
        "store/creation.py": ["collections.filter(pk=collection.pk).update"],
    }


# Whose it is, is asked in one way


def test_only_one_queryset_method_knows_whose_a_download_is() -> None:
    found = {
        path
        for path, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and str(node.arg).startswith("collection__user")
    }
    assert found == {"models/downloads.py"}
    assert "collection__user" in ast.unparse(function(sources()["models/downloads.py"], "for_user"))


def test_what_answers_a_person_reads_rows_through_the_store_alone() -> None:
    for path in (
        "views.py",
        "centre/rendering.py",
        "ws_consumers.py",
        "templatetags/async_downloads.py",
    ):
        assert not imports(sources()[path]) & {
            "async_downloads.models",
            "async_downloads.models.Download",
        }, path
    for path, name in {
        "store/listing.py": ["_mine", "get_for_user"],
        "store/removal.py": ["clear", "clear_finished"],
    }.items():
        for function_name in name:
            assert calls(function(sources()[path], function_name), "for_user"), function_name


# One door each


def imports(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_only_entries_talks_to_a_cache_and_what_0_6_left_there_is_only_read() -> None:
    found = {
        path
        for path, tree in sources().items()
        if any(name.startswith("django.core.cache") for name in imports(tree))
    }
    assert found == {"store/cache_entries.py", "legacy/cache_reader.py"}
    methods = {"get", "get_many", "set", "set_many", "add", "touch", "incr", "delete", "clear"}
    assert set(calls(sources()["legacy/cache_reader.py"], *methods)) == {
        "cache.get",
        "cache.get_many",
    }


@pytest.mark.parametrize(
    ("module", "door"),
    [
        ("django.core.files.storage", "files/storage.py"),
        ("celery", "tasks.py"),
        ("import_export", "exports/resources.py"),
    ],
)
def test_only_one_module_uses_what_has_one_door(module: str, door: str) -> None:
    found = {
        path
        for path, tree in sources().items()
        if any(name == module or name.startswith(f"{module}.") for name in imports(tree))
    }
    assert found == {door}


def test_nothing_but_what_is_for_tests_knows_of_it() -> None:
    for path, tree in sources().items():
        names = {name.partition(".")[0] for name in imports(tree)}
        if not path.startswith("testing/"):
            assert "pytest" not in names, path
            assert not {n for n in imports(tree) if n.startswith("async_downloads.testing")}, path


def test_no_module_prints_or_uses_the_root_logger() -> None:
    for path, tree in sources().items():
        names = {
            ast.unparse(node.func)
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute)
        }
        assert not names & {"print", "logging.warning", "logging.error", "logging.info"}, path


# Names in text


def dotted_names() -> set[str]:
    """Return each text in the package that looks like a path into it."""
    return {
        node.value
        for tree in sources().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"async_downloads(\.[a-z_]\w*)+", node.value)
    }


def test_each_dotted_path_in_a_text_imports() -> None:
    modules = {"async_downloads.urls", "async_downloads.routing", "async_downloads.ws_consumers"}
    names = dotted_names() - modules
    assert {
        "async_downloads.tasks.run_task",
        "async_downloads.tasks.cleanup_expired_downloads",
    } <= names
    for name in names:
        assert callable(import_string(name)), name


def test_each_template_that_is_named_exists() -> None:
    named = {
        node.value
        for tree in sources().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.endswith(".html")
    }
    assert len(named) >= 4
    for name in named:
        assert (PACKAGE / "templates" / name).is_file(), name


# __all__


def test_each_public_module_says_what_is_public_and_has_it() -> None:
    without = set()
    for module in [async_downloads, *modules()]:
        names = getattr(module, "__all__", None)
        if names is None:
            without.add(module.__name__)
            continue
        assert len(names) == len(set(names)), module.__name__
        for name in names:
            assert hasattr(module, name), f"{module.__name__}.{name}"
            assert not name.startswith("_")
    assert without == WITHOUT_ALL


def test_what_is_public_is_documented() -> None:
    for module in modules():
        assert module.__name__ in WITHOUT_ALL or module.__doc__, module.__name__
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if inspect.isroutine(value) or inspect.isclass(value):
                assert inspect.getdoc(value), f"{module.__name__}.{name}"
