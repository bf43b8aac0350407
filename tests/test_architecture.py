"""Rules of the code that import contracts cannot check."""

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

#: Modules whose names Django or Python define, and empty ones.
WITHOUT_ALL = {
    "async_downloads",
    # Its names are settings, and are created on access.
    "async_downloads.settings",
    # Django reads "app_name" and "urlpatterns", "Command", "Migration".
    "async_downloads.urls",
    "async_downloads.templatetags",
    "async_downloads.management",
    "async_downloads.management.commands",
    "async_downloads.management.commands.adopt_downloads",
    "async_downloads.management.commands.cleanup_downloads",
    "async_downloads.management.commands.downloads_status",
    "async_downloads.management.commands.rescue_downloads",
}


@functools.cache
def sources() -> dict[str, ast.Module]:
    """Return the syntax trees of all modules except migrations, by their paths."""
    return {
        path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text())
        for path in sorted(PACKAGE.rglob("*.py"))
        if "migrations" not in path.parts
    }


def modules() -> Iterator[ModuleType]:
    for module in pkgutil.walk_packages(async_downloads.__path__, "async_downloads."):
        if ".migrations" not in module.name:
            yield importlib.import_module(module.name)


def calls(tree: ast.AST, *methods: str) -> list[str]:
    """Return the source of each call of a method with one of these names."""
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


def test_only_the_creation_of_a_download_saves_a_whole_instance() -> None:
    calls_by_path = {
        path: calls(tree, "save", "asave", "save_base") for path, tree in sources().items()
    }
    assert {path: saves for path, saves in calls_by_path.items() if saves} == {
        # A function of the package, and a method of the storage.
        "building/content.py": ["storage.save"],
        "files/storage.py": ["storage().save"],
        # An insert.
        "models/fetches.py": ["super().save"],
        "store/creation.py": ["download.save"],
        "store/ledger.py": ["record.save"],
    }
    create = function(sources()["store/creation.py"], "_insert_row")
    assert calls(create, "save") == ["download.save"]


def test_the_creation_of_a_download_can_only_insert() -> None:
    create = function(sources()["store/creation.py"], "_insert_row")
    (save,) = [
        node
        for node in ast.walk(create)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "download.save"
    ]
    assert "force_insert=True" in ast.unparse(save)


def test_only_adoption_and_creation_write_whole_rows_in_bulk() -> None:
    ways = ("bulk_update", "abulk_update", "update_or_create", "aupdate_or_create", "bulk_create")
    calls_by_path = {path: calls(tree, *ways) for path, tree in sources().items()}
    # The first two write no downloads; the next two only insert new rows; the last ones insert
    # collections or update their keys.
    assert {path: writes for path, writes in calls_by_path.items() if writes} == {
        "exports/presets.py": [
            "LastExport.objects.update_or_create",
            "ExportPreset.objects.update_or_create",
        ],
        "legacy/adoption.py": ["downloads().bulk_create"],
        # It refuses to update.
        "models/fetches.py": ["super().bulk_create"],
        "store/bulk_creation.py": ["downloads().bulk_create"],
        "store/collections.py": ["collections.bulk_create", "collections.bulk_create"],
    }
    for path in ("legacy/adoption.py", "store/bulk_creation.py"):
        (insert,) = [
            node
            for node in ast.walk(sources()[path])
            if isinstance(node, ast.Call) and "bulk_create" in ast.unparse(node.func)
        ]
        assert insert.keywords == []


def test_only_one_module_updates_the_columns_that_an_attempt_writes() -> None:
    # Elsewhere only the key of a collection may be updated, and what its owner has seen.
    calls_by_path = {path: calls(tree, "update", "aupdate") for path, tree in sources().items()}
    outside = {
        path: [call for call in updates if "digest" not in call]
        for path, updates in calls_by_path.items()
        if path != "models/downloads.py"
    }
    assert {path: updates for path, updates in outside.items() if updates} == {
        # A row of django-q2 that the site has not edited.
        "executors/django_q_schedule.py": ["untouched.update"],
        "models/collections.py": ["self.filter(unseen).update"],
        "store/collections.py": ["collections.filter(pk=collection.pk).update"],
    }


# Owners


def test_only_one_queryset_method_filters_by_owner() -> None:
    modules_with_filter = {
        path
        for path, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and str(node.arg).startswith("collection__user")
    }
    assert modules_with_filter == {"models/downloads.py"}
    assert "collection__user" in ast.unparse(function(sources()["models/downloads.py"], "for_user"))


def test_views_read_rows_only_through_the_store() -> None:
    for path in (
        "views.py",
        "api/views.py",
        "centre/rendering.py",
        "ws_consumers.py",
        "templatetags/async_downloads.py",
    ):
        assert not imports(sources()[path]) & {
            "async_downloads.models",
            "async_downloads.models.Download",
        }, path
    for path, name in {
        "store/listing.py": ["visible_downloads", "get_for_user"],
        "store/removal.py": ["clear", "clear_finished"],
    }.items():
        for function_name in name:
            tree = function(sources()[path], function_name)
            assert calls(tree, "for_user", "visible_to"), function_name


# Modules that only one module imports


def imports(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_only_three_modules_use_a_cache_and_that_of_0_6_is_only_read() -> None:
    importers = {
        path
        for path, tree in sources().items()
        if any(name.startswith("django.core.cache") for name in imports(tree))
    }
    assert importers == {
        "legacy/cache_reader.py",
        "store/cache_entries.py",
        "store/redis_clients.py",
    }
    methods = {"get", "get_many", "set", "set_many", "add", "touch", "incr", "delete", "clear"}
    assert set(calls(sources()["legacy/cache_reader.py"], *methods)) == {
        "cache.get",
        "cache.get_many",
    }


@pytest.mark.parametrize(
    ("module", "importer"),
    [
        ("django.core.files.storage", "files/storage.py"),
        ("celery", "tasks.py"),
        ("import_export", "exports/resources.py"),
    ],
)
def test_only_one_module_imports_an_outside_module(module: str, importer: str) -> None:
    importers = {
        path
        for path, tree in sources().items()
        if any(name == module or name.startswith(f"{module}.") for name in imports(tree))
    }
    assert importers == {importer}


def test_only_the_testing_package_imports_testing_tools() -> None:
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
    """Return each string of the package that looks like a dotted path into it."""
    return {
        node.value
        for tree in sources().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"async_downloads(\.[a-z_]\w*)+", node.value)
    }


def test_each_dotted_path_in_a_string_can_be_imported() -> None:
    modules = {"async_downloads.urls", "async_downloads.routing", "async_downloads.ws_consumers"}
    names = dotted_names() - modules
    assert {
        "async_downloads.tasks.run_task",
        "async_downloads.tasks.cleanup_expired_downloads",
        "async_downloads.tasks.rescue_stalled_downloads",
    } <= names
    for name in names:
        assert callable(import_string(name)), name


def test_each_template_named_in_the_code_exists() -> None:
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


def test_each_name_in_all_exists_and_is_public() -> None:
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


def test_each_public_name_is_documented() -> None:
    for module in modules():
        assert module.__name__ in WITHOUT_ALL or module.__doc__, module.__name__
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if inspect.isroutine(value) or inspect.isclass(value):
                assert inspect.getdoc(value), f"{module.__name__}.{name}"
