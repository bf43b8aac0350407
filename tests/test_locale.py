"""Every shipped language translates every text, and no other."""

import gettext
import io
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract_python
from babel.messages.pofile import read_po
from django.test import Client
from django.utils import translation
from django.utils.translation.template import templatize

from tests.factories import DownloadCollectionFactory, DownloadFactory

pytestmark = pytest.mark.any_database

PACKAGE = Path(__file__).parent.parent / "async_downloads"
LANGUAGES = ["de", "es", "fr", "he", "zh_Hans"]
KEYWORDS = [*DEFAULT_KEYWORDS, "gettext_lazy", "gettext_noop", "ngettext_lazy"]

#: The two kinds of placeholders.
PLACEHOLDERS = re.compile(r"%\(\w+\)s|{\w+}")

#: Those of the number that a plural form depends on.
NUMBERS = {"%(count)s", "%(count)d", "%(total)s"}


def source_texts() -> Iterator[Any]:
    """Yield the texts of the code and the templates, as msgids."""
    for path in PACKAGE.rglob("*.*"):
        if path.suffix not in {".py", ".html", ".txt"} or "migrations" in path.parts:
            continue
        text = path.read_text()
        if path.suffix != ".py":
            text = templatize(text)
        source = io.BytesIO(text.encode())
        for _, function, message, _ in extract_python(source, KEYWORDS, [], {}):
            texts = message if isinstance(message, tuple) else (message,)
            # The first one is the context.
            texts = texts[1:] if function == "pgettext" else texts
            wanted = 2 if function and function.startswith("ngettext") else 1
            # A text from a row is None here.
            if texts[0] is not None:
                yield texts[:wanted] if wanted > 1 else texts[0]


def catalog(language: str) -> Catalog:
    path = PACKAGE / "locale" / language / "LC_MESSAGES" / "django.po"
    with path.open("rb") as file:
        return read_po(file, locale=language)


def messages(language: str) -> list[Message]:
    return [message for message in catalog(language) if message.id]


def test_the_shipped_languages_are_the_documented_ones() -> None:
    assert sorted(path.name for path in (PACKAGE / "locale").iterdir()) == LANGUAGES


@pytest.fixture(scope="module")
def texts_in_source() -> set[Any]:
    return set(source_texts())


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_translated_and_no_other(language: str, texts_in_source: set[Any]) -> None:
    assert {message.id for message in messages(language)} == texts_in_source
    for message in messages(language):
        texts = message.string if isinstance(message.string, tuple) else (message.string,)
        assert all(texts), message.id
        assert not message.fuzzy, message.id


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_has_the_same_placeholders(language: str) -> None:
    plural = gettext.c2py(catalog(language).plural_expr)
    numbers = Counter(map(plural, range(1000)))
    forms_of_one_number = {form for form, count in numbers.items() if count == 1}
    for message in messages(language):
        ids = message.id if isinstance(message.id, tuple) else (message.id,)
        texts = message.string if isinstance(message.string, tuple) else (message.string,)
        wanted = set(PLACEHOLDERS.findall(ids[-1]))
        for form, text in enumerate(texts):
            # "One row" needs no number, if that form is for one number only.
            optional = NUMBERS if form in forms_of_one_number else set()
            assert wanted - optional <= set(PLACEHOLDERS.findall(text)) <= wanted, message.id


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("button", "label"),
    [
        ("Download", "Download %(name)s"),
        ("Cancel", "Cancel %(name)s"),
        ("Try again", "Try again: %(name)s"),
        ("Make again", "Make again: %(name)s"),
        ("Keep for longer", "Keep for longer: %(name)s"),
        ("Undo", "Undo: %(name)s removed"),
        ("Undo", "Undo: finished downloads removed"),
    ],
)
def test_the_label_of_a_button_contains_its_text(language: str, button: str, label: str) -> None:
    # People who speak to their computer say what they read (WCAG 2.5.3).
    texts = catalog(language)
    assert str(texts[button].string).lower() in str(texts[label].string).lower()


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_compiled_catalog_matches_its_source(language: str) -> None:
    path = PACKAGE / "locale" / language / "LC_MESSAGES" / "django.mo"
    with path.open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    known: dict[Any, str] = compiled._catalog  # type: ignore[attr-defined]
    expected = {}
    for message in messages(language):
        if isinstance(message.id, tuple):
            for index, text in enumerate(message.string):
                expected[message.id[0], index] = text
        else:
            context = f"{message.context}\4" if message.context else ""
            expected[context + message.id] = message.string
    assert {key: text for key, text in known.items() if key} == expected


@pytest.mark.parametrize(
    ("language", "one", "many"),
    [
        ("de", "Alle Downloads", "Alle 2 Downloads"),
        ("es", "Todas las descargas", "Las 2 descargas"),
        ("fr", "1 téléchargement en tout", "Les 2 téléchargements"),
        ("he", "כל ההורדות", "כל 2 ההורדות"),
        ("zh-hans", "全部 1 个下载", "全部 2 个下载"),
    ],
)
@pytest.mark.django_db
def test_the_menu_is_in_the_language_of_the_page(
    signed_in: Client, user: Any, language: str, one: str, many: str
) -> None:
    collection = DownloadCollectionFactory(user=user)
    with translation.override(language):
        for text in (one, many):
            DownloadFactory(collection=collection, complete=True)
            menu = signed_in.get("/async_downloads/ajax_update/", headers={"HX-Request": "true"})
            assert text in menu.text


@pytest.mark.django_db
def test_a_poll_is_in_the_language_of_the_browser(
    signed_in: Client, user: Any, settings: Any
) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]
    DownloadFactory(collection__user=user, failed=True)
    headers = {"HX-Request": "true", "Accept-Language": "fr"}
    # The middleware leaves its language in the thread.
    with translation.override("en"):
        page = signed_in.get("/async_downloads/ajax_update/", headers=headers).text
    assert "Échoué" in page
