"""The settings: their names, their defaults, and the modules that read them."""

import ast
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

import async_downloads
from async_downloads import settings

PACKAGE = Path(async_downloads.__file__).parent

#: As the documentation of 0.6.0 gives them.
DOCUMENTED_IN_0_6 = {
    "TIMEOUT": 60 * 60 * 24,
    "DOWNLOAD_TEMPLATE": "async_downloads/downloads.html",
    "PATH_PREFIX": "downloads",
    "COLLECTION_KEY_FORMAT": "async_downloads/{}",
    "WS_CHANNEL_NAME": "downloads",
    "WS_MODE": False,
    "CSS_CLASS": None,
    "IN_MEMORY_MAX_SIZE_BYTES": 5_000_000,
}


@pytest.mark.parametrize(("name", "default"), DOCUMENTED_IN_0_6.items())
def test_the_defaults_are_the_documented_ones(name: str, default: object) -> None:
    assert getattr(settings, name) == default
    assert type(getattr(settings, name)) is type(default)


def test_the_default_cache_name_is_empty() -> None:
    # 0.6.0 documents no default: it uses Django's default cache.
    assert settings.CACHE_NAME == ""


def test_the_new_settings_have_defaults_above_zero() -> None:
    assert settings.STALLED_AFTER == 120
    assert settings.MAX_ATTEMPTS == 3


@pytest.mark.parametrize("name", settings.DEFAULTS)
def test_a_setting_is_read_at_each_access(name: str) -> None:
    default = getattr(settings, name)
    with override_settings(**{f"ASYNC_DOWNLOADS_{name}": "another"}):
        assert getattr(settings, name) == "another"
        with override_settings(**{f"ASYNC_DOWNLOADS_{name}": None}):
            # None is a value like any other: it does not mean "not set".
            assert getattr(settings, name) is None
        assert getattr(settings, name) == "another"
    assert getattr(settings, name) == default


def test_an_unknown_name_is_an_attribute_error_even_if_the_project_sets_it() -> None:
    with pytest.raises(AttributeError, match="'SPEED'"):
        _ = settings.SPEED
    with override_settings(ASYNC_DOWNLOADS_SPEED=1), pytest.raises(AttributeError):
        _ = settings.SPEED


def test_each_setting_is_declared_with_its_type_and_has_a_default() -> None:
    tree = ast.parse((PACKAGE / "settings.py").read_text())
    declared = {
        node.target.id
        for node in tree.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and node.value is None
    }
    assert declared == set(settings.DEFAULTS)


def _other_modules() -> list[Path]:
    return [path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "settings.py"]


def _reads_of_the_project(tree: ast.AST) -> list[str]:
    """Return the expressions that read our settings past the settings module."""

    def starts_with_prefix(node: ast.AST) -> bool:
        if isinstance(node, ast.JoinedStr):
            return bool(node.values) and starts_with_prefix(node.values[0])
        return (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node.value.startswith(settings.PREFIX)
        )

    def is_read(node: Any) -> bool:
        match node:
            case ast.Attribute(attr=attr):
                return attr.startswith(settings.PREFIX) or attr == "PREFIX"
            case ast.Call(func=ast.Name(id="getattr" | "hasattr"), args=[_, name, *_]):
                return starts_with_prefix(name)
            case ast.Subscript(slice=key):
                return starts_with_prefix(key)
            case ast.ImportFrom(module="async_downloads.settings"):
                # An imported name is bound once, and misses override_settings.
                return True
        return False

    return [ast.unparse(node) for node in ast.walk(tree) if is_read(node)]


def test_only_the_settings_module_reads_our_settings() -> None:
    found = {
        str(path.relative_to(PACKAGE)): reads
        for path in _other_modules()
        if (reads := _reads_of_the_project(ast.parse(path.read_text())))
    }
    assert found == {}


@pytest.mark.parametrize(
    "source",
    [
        "project_settings.ASYNC_DOWNLOADS_TIMEOUT",
        "getattr(project_settings, 'ASYNC_DOWNLOADS_TIMEOUT', None)",
        "getattr(project_settings, f'ASYNC_DOWNLOADS_{name}')",
        "vars(project_settings)['ASYNC_DOWNLOADS_TIMEOUT']",
        "from async_downloads.settings import TIMEOUT",
    ],
)
def test_the_search_for_readers_finds_them(source: str) -> None:
    assert _reads_of_the_project(ast.parse(source)) != []
