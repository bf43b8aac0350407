"""The page on models has each column and each property."""

import re
from typing import Any

import pytest

from async_downloads.models import (
    Download,
    DownloadCollection,
    DownloadQuerySet,
    DownloadState,
    ExportPreset,
    FetchRecord,
    LastExport,
)
from tests.docs.helpers import rows_of
from tests.snippets import PAGES

pytestmark = pytest.mark.any_database

PAGE = "docs/reference/models.md"

TEXT = PAGES[PAGE].text

PARTS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))


def names(rows: list[list[str]]) -> list[str]:
    return [row[0].strip("`") for row in rows]


@pytest.mark.parametrize(
    "model", [Download, DownloadCollection, ExportPreset, LastExport, FetchRecord]
)
def test_the_table_has_each_column_with_its_field(model: Any) -> None:
    rows = rows_of(PARTS[model.__name__], "| column | field | empty | meaning |")
    documented = [(name.strip("`"), field.strip("`"), empty) for name, field, empty, _ in rows]
    assert documented == [
        (
            field.name,
            type(field).__name__,
            "null" if field.null else '`""`' if field.blank and field.default == "" else "",
        )
        for field in model._meta.fields
    ]


def test_the_table_has_each_property() -> None:
    own = {name for name, value in vars(Download).items() if isinstance(value, property)}
    documented = names(rows_of(TEXT, "| property | meaning |"))
    assert set(documented) == own - {"pk"}
    assert len(documented) == len(set(documented))


def test_the_table_has_each_state() -> None:
    assert names(rows_of(TEXT, "| state | meaning |")) == list(DownloadState.values)


@pytest.mark.django_db
def test_the_query_methods_exist_and_only_read() -> None:
    for call in names(rows_of(TEXT, "| method | returns |")):
        name, argument = re.fullmatch(r"(\w+)\((\w*)\)", call).groups()  # type: ignore[union-attr]
        rows = getattr(Download.objects, name)(*([1] if argument else []))
        assert isinstance(rows, DownloadQuerySet)


def test_the_permissions_exist() -> None:
    (text,) = re.findall(r"^### Permissions\n\n(.*?)\n\n", TEXT, re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"`(\w+_downloads?)`", text))
    options = Download._meta
    assert named == {f"{action}_download" for action in options.default_permissions} | {
        code for code, _ in options.permissions
    }
