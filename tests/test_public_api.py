"""The public interface: a change here may require changes in sites.

Names and signatures are pinned as text. A new one is added here and to the
documentation; one that goes is deprecated first.
"""

import inspect
from dataclasses import fields
from pathlib import Path
from typing import Any, is_typeddict

import pytest
from django.contrib.staticfiles import finders
from django.core.management import BaseCommand, get_commands, load_command_class
from django.dispatch import Signal
from django.template.loader import get_template
from django.urls import resolve, reverse
from django.utils.module_loading import import_string

import async_downloads
from async_downloads import (
    api,
    audit,
    cache,
    exceptions,
    exports,
    formats,
    settings,
    shortcuts,
    signals,
    store,
    tasks,
)
from async_downloads.formats import registry

PACKAGE = Path(async_downloads.__file__).parent
KEY = "0b6a1f2e-7c59-4f0a-9b1d-3f6f0a1c2d3e"

FUNCTIONS = {
    audit: [
        "record(request, download)",
        "remote_address(request)",
        "remote_network(request)",
    ],
    cache: [
        "ainit_download(user, filename, name=None, *, timeout='default')",
        "asave_download(download_key, iterable=None, file=None, encoding='utf-8', *, header=None, "
        "expected_rows=None, format=None, members=None, labels=False, time_zone=None, "
        "localize=False)",
        "aset_error(download_key, error)",
        "aset_percentage(download_key, percentage)",
        "aupdate_percentage(download_key, total, cur, resolution=10)",
        "cleanup_collection(collection_key)",
        "get_collection_key(user)",
        "get_username(user)",
        "init_download(user, filename, name=None, *, timeout='default')",
        "save_download(download_key, iterable=None, file=None, encoding='utf-8', *, header=None, "
        "expected_rows=None, format=None, members=None, labels=False, time_zone=None, "
        "localize=False)",
        "set_error(download_key, error)",
        "set_percentage(download_key, percentage)",
        "update_percentage(download_key, total, cur, resolution=10)",
    ],
    shortcuts: [
        "aenqueue_download(task, download_key, *task_args, timeout='default', **task_kwargs)",
        "astart_download(task, user, filename, name=None, *, args=(), kwargs=None, join=False, "
        "fresh_for=0, timeout='default')",
        "download_task(function)",
        "enqueue_download(task, download_key, *task_args, timeout='default', **task_kwargs)",
        "init_generic_csv_download(task, user, name, *task_args, timeout='default', **task_kwargs)",
        "queryset_to_csv(download_key, header, queryset, row_function, *, format=None)",
        "start_download(task, user, filename, name=None, *, args=(), kwargs=None, join=False, "
        "fresh_for=0, timeout='default')",
        "start_downloads(task, users, filename, name=None, *, args=(), kwargs=None, "
        "unless_unfinished=True, fresh_for=0, timeout='default')",
        "wake_menu(response, *, show=False)",
    ],
    tasks: [
        "cleanup_expired_downloads()",
        "rescue_stalled_downloads()",
        "run_task(path, download_key, args=(), kwargs=None)",
    ],
}

KINDS: dict[Any, list[str]] = {
    formats.Format: ["name", "extensions", "content_type", "write", "requires", "install"],
    formats.Options: [
        *("name", "header", "encoding", "escape_formulas", "title", "creator", "columns"),
        *("time_zone", "localize"),
    ],
    formats.Column: ["name", "field"],
    formats.Rows: ["rows", "header", "encoding", "labels"],
    shortcuts.StartedDownloads: ["started", "skipped", "at_limit", "unknown"],
}

FORMATS = {
    "csv": ".csv",
    "csv-excel": ".csv",
    "csv.gz": ".csv.gz",
    "jsonl": ".jsonl",
    "jsonl.gz": ".jsonl.gz",
    "ods": ".ods",
    "parquet": ".parquet",
    "tsv": ".tsv",
    "tsv.gz": ".tsv.gz",
    "xlsx": ".xlsx",
    "zip": ".zip",
}

SETTINGS = {
    "AUDIT": False,
    "AUDIT_ADDRESS": "",
    "CACHE_NAME": "",
    "CLEANUP_SCHEDULE": 60,
    "COLLECTION_KEY_FORMAT": "async_downloads/{}",
    "CSS_CLASS": None,
    "DATABASE_WAIT": 60,
    "DOWNLOAD_TEMPLATE": "async_downloads/downloads.html",
    "ESCAPE_FORMULAS": False,
    "IN_MEMORY_MAX_SIZE_BYTES": 5_000_000,
    "JSON_LIMIT": 1000,
    "MAX_ACTIVE": None,
    "MAX_ATTEMPTS": 3,
    "MAX_BYTES": None,
    "MAX_LIFETIME": None,
    "MAX_ROWS": None,
    "MAY_FETCH": "",
    "MAY_START": "",
    "NOTIFY_AFTER": None,
    "METRICS": "",
    "MEMBERS": "",
    "PATH_PREFIX": "downloads",
    "RESCUE": True,
    "SERVE": "stream",
    "SERVE_LOCATION": "/async_downloads_files/",
    "SITE_URL": "",
    "STALLED_AFTER": 120,
    "STORAGE": "default",
    "STUCK_AFTER": None,
    "TIMEOUT": 86_400,
    "WS_CHANNEL_NAME": "downloads",
    "WS_URL": "",
    "WS_MODE": False,
}

URLS = {
    "ajax_clear_download": ("/async_downloads/ajax_clear_download/", []),
    "ajax_update": ("/async_downloads/ajax_update/", []),
    "clear_finished": ("/async_downloads/clear_finished/", []),
    "detail": (f"/async_downloads/detail/{KEY}/", [KEY]),
    "download": (f"/async_downloads/download/{KEY}/", [KEY]),
    "download_list": ("/async_downloads/list/", []),
    "keep": ("/async_downloads/keep/", []),
    "openapi": ("/async_downloads/openapi.json", []),
    "retry": ("/async_downloads/retry/", []),
    "script": ("/async_downloads/scripts/htmx-2.min.js", ["htmx-2.min.js"]),
}

#: The attributes of a ModelAdmin with exports that a site may set and override.
OF_THE_MIXIN = [
    "export_in_background(self, request, queryset)",
    "get_export_fields(self, request)",
    "get_export_list_display(self, request)",
    "get_export_resource(self, request)",
    "get_export_state(self, request)",
    "has_export_permission(self, request)",
    "may_export(self, request)",
    "restore_export_state(self, request, state)",
]

TEMPLATES = [
    "admin/breadcrumbs.html",
    "admin/change_list.html",
    "admin/confirm.html",
    "admin/export.html",
    "admin/htmx.html",
    "admin/owner_filter.html",
    "admin/progress.html",
    "admin/summary.html",
    "admin/summary_link.html",
    "base.html",
    "clear_finished.html",
    "cross.svg",
    "download.html",
    "download_centre.html",
    "download_list.html",
    "download_list_part.html",
    "downloads.html",
    "fragment.html",
    "gone.html",
    "icon.svg",
    "isolation.html",
    "keep.html",
    "list.html",
    "mail/body.html",
    "mail/body.txt",
    "mail/subject.txt",
    "none.html",
    "refusal.html",
    "retry.html",
    "script.html",
    "signed_out.html",
    "toast.html",
]

#: Names that Django's admin defines, which a site may override in the usual way.
ADMIN_TEMPLATES = [
    "change_list.html",
    "download/change_form.html",
    "download/change_list.html",
    "downloadcollection/change_form.html",
    "fetchrecord/change_list.html",
]

STATIC_FILES = [
    "css/async_downloads.css",
    "css/async_downloads_admin.css",
    "css/async_downloads_export.css",
    "js/async_downloads.js",
    "js/async_downloads_centre.js",
    "js/async_downloads_export.js",
    "js/async_downloads_list.js",
    "js/ws_async_downloads.js",
]


def signature(function: Any) -> str:
    """Return a function's signature without types, whose text depends on the version of Python."""
    full = inspect.signature(function)
    bare = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in full.parameters.values()
    ]
    text = full.replace(parameters=bare, return_annotation=inspect.Signature.empty)
    return f"{function.__name__}{text}"


@pytest.mark.parametrize("module", FUNCTIONS, ids=lambda module: module.__name__)
def test_the_functions_and_their_arguments(module: Any) -> None:
    public = [getattr(module, name) for name in sorted(module.__all__)]
    functions = [each for each in public if each not in KINDS]
    assert list(map(signature, functions)) == FUNCTIONS[module]


@pytest.mark.parametrize("module", FUNCTIONS, ids=lambda module: module.__name__)
def test_each_argument_and_each_result_has_a_type(module: Any) -> None:
    for name in module.__all__:
        typed = inspect.signature(getattr(module, name))
        assert typed.return_annotation is not inspect.Signature.empty
        for parameter in typed.parameters.values():
            assert parameter.annotation is not inspect.Parameter.empty, f"{name}: {parameter}"


def twins() -> dict[str, tuple[Any, Any]]:
    """Return each function for async code, and the function that does the same, by its name."""
    return {
        name: (getattr(module, name), getattr(module, name[1:]))
        for module in FUNCTIONS
        for name in module.__all__
        if name.startswith("a") and name[1:] in module.__all__
    }


def test_a_function_for_async_code_is_like_the_one_it_stands_for() -> None:
    assert len(twins()) == 7
    for other, function in twins().values():
        assert inspect.iscoroutinefunction(other)
        assert inspect.signature(other) == inspect.signature(function)
        assert f"Do the same as ``{function.__name__}``" in (inspect.getdoc(other) or "")


def test_each_function_documents_each_of_its_arguments() -> None:
    for module in FUNCTIONS:
        for name in set(module.__all__) - twins().keys():
            function = getattr(module, name)
            for argument in inspect.signature(function).parameters:
                assert f"{argument}:" in (inspect.getdoc(function) or ""), f"{name}: {argument}"


@pytest.mark.parametrize("function", [store.hold, store.end_hold])
def test_the_functions_of_the_store(function: Any) -> None:
    # The others are internal.
    assert signature(function) == f"{function.__name__}(queryset)"
    assert "queryset:" in (inspect.getdoc(function) or "")


def test_the_exports() -> None:
    assert exports.__all__ == ["ExportInBackgroundMixin", "export_resource"]
    assert signature(exports.export_resource) == (
        "export_resource(download_key, resource, queryset=None, *, format=None)"
    )
    mixin = exports.ExportInBackgroundMixin
    assert mixin.export_task == "async_downloads.exports.tasks.export_changelist"
    assert mixin.export_resource_class is None
    assert mixin.export_fields == ()
    assert mixin.export_without_asking is False
    names = [text.partition("(")[0] for text in OF_THE_MIXIN]
    assert [signature(getattr(mixin, name)) for name in names] == OF_THE_MIXIN


def test_the_exceptions() -> None:
    bases = {
        "DownloadBusy": Exception,
        "DownloadCancelled": Exception,
        "DownloadError": Exception,
        "DownloadUnavailable": Exception,
        "TooManyDownloadsError": exceptions.DownloadError,
    }
    assert exceptions.__all__ == list(bases)
    for name, base in bases.items():
        kind = getattr(exceptions, name)
        assert kind.__bases__ == (base,)
        assert kind("text").args == ("text",)


def test_the_signals() -> None:
    assert signals.__all__ == [
        "download_cancelled",
        "download_changed",
        "download_completed",
        "download_created",
        "download_expired",
        "download_failed",
        "download_fetched",
        "download_requeued",
        "download_stalled",
        "download_started",
    ]
    assert isinstance(signals.download_changed, Signal)


def test_the_types_of_the_json() -> None:
    assert api.__all__ == ["DownloadData", "DownloadListData", "ProblemData"]
    assert all(is_typeddict(getattr(api, name)) for name in api.__all__)


def test_the_functions_for_custom_formats() -> None:
    assert formats.__all__ == ["Column", "Format", "Options", "Rows", "register"]
    assert signature(formats.register) == "register(added)"
    assert {kind: [field.name for field in fields(kind)] for kind in KINDS} == KINDS
    for kind, names in KINDS.items():
        for name in names:
            assert f"{name}:" in (inspect.getdoc(kind) or ""), f"{kind}: {name}"


def test_the_formats() -> None:
    assert {name: registry.named(name).extensions[0] for name in FORMATS} == FORMATS


def test_the_settings_and_their_defaults() -> None:
    assert settings.PREFIX == "ASYNC_DOWNLOADS_"
    assert settings.DEFAULTS == SETTINGS


@pytest.mark.parametrize("name", URLS)
def test_the_urls(name: str) -> None:
    url, arguments = URLS[name]
    assert reverse(f"async_downloads:{name}", args=arguments) == url
    assert resolve(url).view_name == f"async_downloads:{name}"


def test_there_are_no_other_urls() -> None:
    from async_downloads import urls

    assert urls.app_name == "async_downloads"
    assert sorted(pattern.name for pattern in urls.urlpatterns) == sorted(URLS)


def test_the_templates() -> None:
    folder = PACKAGE / "templates"
    for app, names in {
        "async_downloads": TEMPLATES,
        "admin/async_downloads": ADMIN_TEMPLATES,
    }.items():
        root = folder / app
        files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.*"))
        assert files == names
        for name in names:
            template = get_template(f"{app}/{name}").template
            assert Path(template.origin.name) == root / name


def test_the_static_files() -> None:
    folder = PACKAGE / "static"
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))
    assert files == STATIC_FILES
    for name in STATIC_FILES:
        assert Path(str(finders.find(name))) == folder / name


def test_the_template_tags() -> None:
    from async_downloads.templatetags.async_downloads import register

    assert sorted(register.tags) == ["download_centre", "download_item", "remembered"]
    assert register.filters == {}


COMMANDS = {
    "adopt_downloads": {"--dry-run", "--owner", "--collection"},
    "cleanup_downloads": {
        *("--owner", "--state", "--before", "--after", "--orphans", "--min-age"),
        "--ledger-before",
        *("--dry-run", "--json", "--no-input", "--noinput"),
    },
    "downloads_status": {
        *("--json", "--max-stalled", "--max-pending", "--max-expired", "--max-failed"),
    },
    "rescue_downloads": {"--json"},
}


def options(command: BaseCommand, name: str) -> set[str]:
    parser = command.create_parser("manage.py", name)
    return {option for action in parser._actions for option in action.option_strings}


def test_the_management_commands_and_their_options() -> None:
    commands = {name for name, app in get_commands().items() if app == "async_downloads"}
    assert commands == COMMANDS.keys()
    everywhere = options(BaseCommand(), "any")
    for name, own in COMMANDS.items():
        assert options(load_command_class("async_downloads", name), name) - everywhere == own


@pytest.mark.parametrize(
    "path",
    [
        "async_downloads.apps.AsyncDownloadsConfig",
        "async_downloads.executors.threads.thread_task",
        "async_downloads.exports.tasks.export_changelist",
        "async_downloads.metrics.prometheus.registry",
        "async_downloads.models.Download",
        "async_downloads.models.DownloadCollection",
        "async_downloads.models.ExportPreset",
        "async_downloads.models.FetchRecord",
        "async_downloads.routing.websocket_urlpatterns",
        "async_downloads.testing.run_download",
        "async_downloads.testing.conformance.ExecutorConformance",
        "async_downloads.testing.conformance.Worker",
        "async_downloads.testing.performing.aperform",
        "async_downloads.testing.performing.perform",
        "async_downloads.ws_consumers.DownloadsConsumer",
        "async_downloads.views.ajax_update",
        "async_downloads.views.ajax_clear_download",
    ],
)
def test_the_other_names_that_a_site_may_import(path: str) -> None:
    assert import_string(path) is not None


def test_the_package_is_typed_and_says_its_version() -> None:
    assert (PACKAGE / "py.typed").is_file()
    assert async_downloads.__version__
