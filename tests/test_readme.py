"""Every snippet of the README does what the README says."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from django.contrib import admin
from django.contrib.messages.storage.cookie import CookieStorage
from django.core.checks import run_checks
from django.core.management import call_command, get_commands
from django.db import transaction
from django.http import HttpRequest
from django.template import Context, Template
from django.test import Client, RequestFactory
from django.urls import URLResolver

from async_downloads import cache, exports, files, settings, signals
from async_downloads.executors import enqueuer_for
from async_downloads.exports import ExportInBackgroundMixin
from async_downloads.formats import registry
from async_downloads.models import Download
from async_downloads.testing.running import FinishedDownload
from tests import jobs, queues
from tests.factories import DownloadFactory, OrderFactory, UserFactory
from tests.runs import long_ago
from tests.shop import models
from tests.snippets import BLOCKS, README, placed, snippet, snippets

pytestmark = pytest.mark.any_database

ROOT = Path(__file__).parent.parent


def executed(body: str, **names: Any) -> dict[str, Any]:
    exec(compile(body, "README.md", "exec"), names)  # noqa: S102 (our own text)
    return names


# Each snippet is named by a text in it, with the test that runs it, in the file that the README
# names. That this file fits into a site, tests/faults/test_quick_start.py tries on a new one.
COVERED = {
    "nox -s demo": "test_the_commands_exist",
    "nox -s tests": "test_the_commands_exist",
    "pip install django-async-downloads\n": "test_the_quick_start_is_followed",
    "class Customer": "test_the_quick_start_is_followed",
    "manage.py migrate": "test_the_quick_start_is_followed",
    "manage.py qcluster": "test_the_quick_start_is_followed",
    "manage.py runserver": "test_the_quick_start_is_followed",
    "django-async-downloads[ws]": "test_the_commands_exist",
    "pending ──> running": "a drawing",
    "INSTALLED_APPS +=": "test_the_settings_satisfy_the_checks",
    "urlpatterns = [": "test_the_urls_are_the_documented_ones",
    '<ul class="navbar-nav">': "test_the_base_template_shows_the_centre",
    "def export_orders": "test_the_quick_start_exports_orders",
    "def start_export": "test_the_quick_start_exports_orders",
    "def export_report": "test_a_task_of_ones_own_rows",
    "def export_archive": "test_a_task_of_several_files",
    "def write_html": "test_a_format_of_ones_own",
    "def start_from_htmx": "test_a_view_wakes_the_menu",
    "class OrderAdmin": "test_a_list_of_the_admin_is_exported",
    "export_with_celery": "test_celery_exports_a_list_of_the_admin",
    "def export_with_resource": "test_a_resource_is_exported",
    "def start_report": "test_a_task_is_started_after_the_commit",
    'ASYNC_DOWNLOADS_CACHE_NAME = "default"': "test_the_settings_satisfy_the_checks",
    "rebeccapurple": "test_the_custom_properties_exist",
    "{% block icon %}": "test_what_is_customised_in_a_browser",
    "{% block status %}": "test_what_is_customised_in_a_browser",
    "htmx-config": "test_the_configuration_of_htmx_is_ours",
    "Nothing to fetch": "test_a_list_template_of_ones_own",
    'ASYNC_DOWNLOADS_SERVE = "x-accel"': "test_the_settings_satisfy_the_checks",
    "django-storages[s3]": "test_the_commands_exist",
    "ASYNC_DOWNLOADS_WS_MODE = True": "test_the_settings_satisfy_the_checks",
    "ProtocolTypeRouter(": "test_the_asgi_application_routes_websockets",
    'MAY_FETCH = "orders': "test_the_settings_satisfy_the_checks",
    "def may_fetch": "test_a_site_refuses_a_file",
    "def start_if_there_is_room": "test_a_start_above_the_limit_is_told",
    "proxy_set_header Upgrade": "test_nginx_understands_its_location",
    "django-async-downloads[import-export]": "test_the_commands_exist",
    "pip install redis": "test_the_commands_exist",
    "django-async-downloads[celery]": "test_the_commands_exist",
    "django-async-downloads[testing]": "test_the_commands_exist",
    "[pytest]": "test_the_quick_start_is_followed",
    'pytest_plugins = ["async_downloads.testing"]': "test_the_fixtures_are_named_as_we_name_them",
    "def test_an_open_order": "test_a_site_tests_its_task",
    'DATABASES["default"]["TEST"]': "test_the_settings_satisfy_the_checks",
    "class TestOurQueue": "test_a_site_puts_its_queue_to_the_suite",
    "\npytest\n": "test_the_quick_start_is_followed",
    "pytest tests/test_queue.py": "test_the_quick_start_is_followed",
}


def test_every_snippet_is_run_by_a_test() -> None:
    for block in BLOCKS:
        body = f"\n{block.body}"
        assert [text for text in COVERED if text in body], f"no test runs this:{body}"
    for text, test in COVERED.items():
        assert test in globals() or test == "a drawing", text


def test_every_snippet_says_where_it_goes() -> None:
    for block in BLOCKS:
        if block.language in {"python", "ini"}:
            assert block.file, block
        elif block.language == "console":
            assert block.terminal, block
        elif block.language != "text":
            assert block.file or " in " in block.above, block


def test_the_quick_start_is_followed() -> None:
    from tests.faults import test_quick_start

    chapters = {block.chapter for block in BLOCKS if block.file and block.file[0] != "/"}
    assert {*test_quick_start.CHAPTERS, "Quick start", "Websockets"} == chapters


def test_the_commands_exist() -> None:
    said = "\n".join(snippets("console"))
    sessions = re.findall(r"^def (\w+)\(session", (ROOT / "noxfile.py").read_text(), re.MULTILINE)
    assert set(re.findall(r"nox -s (\w+)", said)) <= set(sessions)
    assert set(re.findall(r"manage\.py (\w+)", said)) <= get_commands().keys()
    project = (ROOT / "pyproject.toml").read_text()
    assert 'name = "django-async-downloads"' in project
    extras = set(re.findall(r"django-async-downloads\[([\w-]+)\]", said))
    assert {extra for extra in extras if f"\n{extra} = [" not in project} == set()


@pytest.fixture
def as_documented(tmp_path: Path) -> dict[str, Any]:
    """The settings snippets, one after the other, on top of those of a new site."""
    call_command("startproject", "mysite", str(tmp_path))
    path = tmp_path / "mysite/settings.py"
    names = executed(path.read_text(), __file__=str(path))
    for block in BLOCKS:
        # Who stores and who sends at S3 has a test of its own.
        if block.file == "mysite/settings.py" and "S3Storage" not in block.body:
            names = executed(block.body, **names)
    return {name: value for name, value in names.items() if name.isupper()}


@pytest.fixture
def mysite(monkeypatch: pytest.MonkeyPatch) -> None:
    """The modules of the quick start's site that the settings name."""
    for package in ("mysite", "orders"):
        monkeypatch.setitem(sys.modules, package, types.ModuleType(package))
    for name, body in {
        "orders.rights": placed("def may_fetch"),
        "mysite.asgi": placed("ProtocolTypeRouter("),
    }.items():
        module = types.ModuleType(name)
        monkeypatch.setitem(sys.modules, name, module)
        vars(module).update(executed(body))


def test_the_settings_satisfy_the_checks(
    as_documented: dict[str, Any], settings: Any, mysite: None
) -> None:
    assert {"django_htmx", "django_q", "async_downloads"} <= set(as_documented["INSTALLED_APPS"])
    documented = "".join(block.body for block in BLOCKS if block.file == "mysite/settings.py")
    for name in re.findall(r"^([A-Z_]+) = ", documented, re.MULTILINE):
        if name != "INSTALLED_APPS":
            setattr(settings, name, as_documented[name])
    messages = run_checks(tags=["async_downloads"], include_deployment_checks=True)
    assert [message for message in messages if message.id != "async_downloads.W004"] == []
    options = as_documented["DATABASES"]["default"]["OPTIONS"]
    assert options["transaction_mode"] == "IMMEDIATE"
    assert "journal_mode=WAL" in options["init_command"]


def test_the_urls_are_the_documented_ones(quick_start: Any) -> None:
    urls = quick_start("mysite.urls", placed("urlpatterns = ["))
    (included,) = [each for each in urls.urlpatterns if str(each.pattern) == "async_downloads/"]
    assert isinstance(included, URLResolver)
    provided = {f"async_downloads:{pattern.name}" for pattern in included.url_patterns}
    assert provided == set(re.findall(r"^\| `(async_downloads:\w+)`", README, re.MULTILINE))


@pytest.mark.django_db
def test_the_base_template_shows_the_centre(user: Any) -> None:
    # The address of the site's own view is nothing that this site has.
    body = snippet('<ul class="navbar-nav">').replace("{% url 'start_export' %}", "")
    page = Template(body).render(Context({"user": user}))
    assert 'id="async-downloads"' in page
    assert "/static/css/async_downloads.css" in page


@pytest.fixture
def quick_start(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], types.ModuleType]:
    """Makes modules of the site that the quick start makes, whose models are those of the tests."""

    def install(name: str, body: str = "") -> types.ModuleType:
        module = types.ModuleType(name)
        monkeypatch.setitem(sys.modules, name, module)
        exec(compile(body, "README.md", "exec"), module.__dict__)  # noqa: S102 (our own text)
        return module

    for package in ("orders", "mysite"):
        install(package)
    orders_models = install("orders.models")
    for name in re.findall(r"^class (\w+)", snippet("class Customer"), re.MULTILINE):
        setattr(orders_models, name, getattr(models, name))
    install("orders.tasks", snippet("def export_orders"))
    install("orders.views", snippet("def start_export"))
    return install


def posted(rf: RequestFactory, user: Any) -> HttpRequest:
    request: HttpRequest = rf.post("/start/")
    request.user = user
    request._messages = CookieStorage(request)  # type: ignore[attr-defined]
    return request


@pytest.mark.django_db(transaction=True)
def test_the_quick_start_exports_orders(user: Any, rf: RequestFactory, quick_start: Any) -> None:
    views = quick_start("orders.views", placed("def start_export"))
    order = OrderFactory(status="open")
    OrderFactory(status="shipped")
    assert views.start_export(posted(rf, user)).status_code == 302
    queues.run_waiting()
    download = Download.objects.get()
    assert download.complete, download.error_detail
    rows = content(download).splitlines()
    assert rows == ["Reference,Customer,Total", f"{order.reference},{order.customer.name},19.90"]


@pytest.mark.django_db(transaction=True)
def test_a_task_of_ones_own_rows(user: Any, quick_start: Any) -> None:
    reports = quick_start("orders.reports", placed("def export_report"))
    OrderFactory(status="open")
    _, key = cache.init_download(user, "report.csv")
    reports.export_report(key, ["open", "shipped"])
    download = Download.objects.get()
    with files.storage().open(download.filepath) as file:
        assert file.read().decode("utf-8-sig") == "Status,Orders\nopen,1\nshipped,0\n"
    _, key = cache.init_download(user, "report.csv")
    reports.export_report(key, [])
    assert Download.objects.get(pk=key).errors == "Choose at least one status."


@pytest.fixture
def documented_admin(quick_start: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The admin of orders that the guide shows, in the place of that of the tests."""
    # Put back at the end, in the place of what the guide has registered.
    monkeypatch.delitem(admin.site._registry, models.Order)
    return quick_start("orders.admin", placed("class OrderAdmin")).OrderAdmin


def content(download: Download) -> str:
    assert download.complete, download.error_detail
    with files.storage().open(download.filepath) as file:
        text: str = file.read().decode()
    return text


@pytest.mark.django_db(transaction=True)
def test_a_list_of_the_admin_is_exported(client: Client, rf: Any, documented_admin: Any) -> None:
    somebody = UserFactory(is_staff=True, is_superuser=True)
    for reference, status in (("R1", "open"), ("R2", "shipped"), ("X3", "open")):
        OrderFactory(reference=reference, status=status, customer__name="Ada")
    model_admin = admin.site.get_model_admin(models.Order)
    assert type(model_admin) is documented_admin
    request = rf.post("/admin/shop/order/export-in-background/?status__exact=open&q=R")
    request.user = somebody
    request._messages = CookieStorage(request)
    assert model_admin.export_in_background_view(request).status_code == 302
    queues.run_waiting()
    expected = "Reference,Customer,Customer name,Total,Is open\nR1,Ada,Ada,19.90,True\n"
    assert content(Download.objects.get()) == expected


def test_celery_exports_a_list_of_the_admin(quick_start: Any) -> None:
    celery = pytest.importorskip("celery")
    app = celery.Celery("readme", set_as_current=False)
    task = quick_start("orders.tasks", placed("export_with_celery")).export_with_celery
    assert task.name == "async_downloads.exports.tasks.export_changelist"
    assert task.name in app.tasks
    assert callable(task.delay)


@pytest.mark.django_db(transaction=True)
def test_a_resource_is_exported(user: Any, quick_start: Any) -> None:
    pytest.importorskip("import_export.resources")
    task = quick_start("orders.tasks", placed("def export_with_resource")).export_with_resource
    order = OrderFactory(status="open")
    OrderFactory(status="shipped")
    _, key = cache.init_download(user, "orders.csv")
    task(key, "open")
    header, row = content(Download.objects.get()).splitlines()
    assert dict(zip(header.split(","), row.split(","), strict=True))["reference"] == order.reference


def test_the_table_of_the_mixin_is_the_truth() -> None:
    table = README.partition("| of the mixin | what for |")[2].partition("\n\n")[0]
    told = [
        name
        for line in table.splitlines()[2:]
        for name in re.findall(r"`(\w+)", line.split("|")[1])
    ]
    assert len(told) == 8
    for name in told:
        assert hasattr(ExportInBackgroundMixin, name), name


def test_the_fixtures_are_named_as_we_name_them() -> None:
    from tests import conftest

    names = executed(snippet('pytest_plugins = ["async_downloads.testing"]'))
    assert names["pytest_plugins"] == conftest.pytest_plugins


def test_a_site_tests_its_task(quick_start: Any, run_download: Any) -> None:
    names = executed(placed("def test_an_open_order"))
    tests = [function for name, function in names.items() if name.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        test(run_download)


def test_a_site_puts_its_queue_to_the_suite(quick_start: Any) -> None:
    quick_start("mysite.celery").app = jobs.celery_app
    names = executed(placed("class TestOurQueue"))
    enqueuer_for(names["conform"])
    cases = [name for name in dir(names["TestOurQueue"]) if name.startswith("test_")]
    assert len(cases) == 12
    said = README.partition("suite that the package's executors pass: twelve")[2]
    for case in re.findall(r'"([a-z ]+)"', said.partition("It takes")[0]):
        assert f"test_{case.replace(' ', '_')}" in cases


def test_the_names_of_a_finished_download_exist() -> None:
    said = README.partition("### Testing your own tasks")[2].partition("Nothing is queued")[0]
    names = set(re.findall(r"`(?:finished)?\.(\w+)`", said))
    assert len(names) == 8
    assert {name for name in names if not hasattr(FinishedDownload, name)} == set()


def test_the_table_of_signals_is_complete() -> None:
    section = README.partition("### Exceptions and signals")[2].partition("### URLs")[0]
    assert set(re.findall(r"download_[a-z]+(?=`)", section)) - {"download_key"} == {
        *signals.__all__
    }


@pytest.mark.django_db(transaction=True)
def test_a_task_of_several_files(user: Any, quick_start: Any) -> None:
    tasks = quick_start("orders.tasks", placed("def export_archive"))
    order = OrderFactory(status="open")
    _, key = cache.init_download(user, "orders.zip")
    tasks.export_archive(key, ["open", "shipped"])
    download = Download.objects.get()
    assert download.complete, download.error_detail
    with files.storage().open(download.filepath) as file, zipfile.ZipFile(file) as archive:
        assert archive.namelist() == ["README.txt", "open.xlsx", "shipped.xlsx"]
        book = openpyxl.load_workbook(io.BytesIO(archive.read("open.xlsx")))
    rows = [[cell.value for cell in row] for row in book.worksheets[0].rows]
    assert rows == [["Reference", "Total"], [order.reference, 19.9]]


@pytest.mark.django_db(transaction=True)
def test_a_format_of_ones_own(
    user: Any, signed_in: Client, quick_start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_formats", registry._formats.copy())
    apps = quick_start("orders.apps", placed("def write_html"))
    apps.__file__ = __file__
    apps.OrdersConfig("orders", apps).ready()
    _, key = cache.init_download(user, "orders.html")
    cache.save_download(key, [["R&D", 5]], header=["Reference", "Total"])
    download = Download.objects.get()
    response = signed_in.get(download.url)
    assert (download.rows_written, response["Content-Type"]) == (1, "text/html")
    assert response.getvalue().decode() == (
        "<!doctype html><meta charset=utf-8><table>"
        "<tr><th>Reference<th>Total<tr><td>R&amp;D<td>5</table>"
    )


def test_the_table_of_formats_is_the_truth() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (`\..*?) \|", README, re.MULTILINE)
    told = {name: tuple(re.findall(r"`(\.\w+)`", extensions)) for name, extensions in rows}
    assert told == {name: each.extensions for name, each in registry._formats.items()}


@pytest.mark.django_db(transaction=True)
def test_a_task_is_started_after_the_commit(
    rf: RequestFactory, user: Any, quick_start: Any
) -> None:
    quick_start("orders.reports", placed("def export_report"))
    views = quick_start("orders.views", placed("def start_report"))
    with transaction.atomic():
        views.start_report(posted(rf, user))
        assert queues.waiting() == []
    queues.run_waiting()
    with files.storage().open(Download.objects.get().filepath) as file:
        assert file.read().decode("utf-8-sig") == "Status,Orders\nopen,0\nshipped,0\n"


@pytest.mark.parametrize(
    "text",
    [
        Download(state="running", heard_at=long_ago()).status_text,
        Download(state="pending", heard_at=long_ago()).status_text,
        "The export could not be queued. Please try again later.",
        "The file is no longer there. Please ask for it again.",
        "The server is busy. Please try again in a moment.",
        "Given up: the worker stopped responding each time.",
    ],
)
def test_the_table_of_faults_quotes_what_people_see(text: str) -> None:
    table = README.partition("### When things go wrong")[2].partition("###")[0]
    assert f'"{text}"' in table
    words = text.partition(": ")[0]
    package = (ROOT / "async_downloads").rglob("*.py")
    assert any(words in path.read_text() for path in package)


@pytest.mark.django_db(transaction=True)
def test_a_view_wakes_the_menu(rf: RequestFactory, user: Any, quick_start: Any) -> None:
    views = quick_start("orders.views", placed("def start_from_htmx"))
    response = views.start_from_htmx(posted(rf, user))
    assert len(queues.waiting()) == 1
    assert json.loads(response["HX-Trigger"]) == {"async-downloads:look": {}}


@pytest.mark.django_db(transaction=True)
def test_a_site_refuses_a_file(
    as_documented: dict[str, Any], settings: Any, mysite: None, signed_in: Client, user: Any
) -> None:
    settings.ASYNC_DOWNLOADS_MAY_FETCH = as_documented["ASYNC_DOWNLOADS_MAY_FETCH"]
    download = DownloadFactory(collection__user=user, complete=True)
    assert signed_in.get(download.url).status_code == 404
    user.is_superuser = True
    user.save()
    response = signed_in.get(download.url)
    assert response.status_code == 200
    response.close()


@pytest.mark.django_db(transaction=True)
def test_a_start_above_the_limit_is_told(
    settings: Any, user: Any, rf: RequestFactory, quick_start: Any
) -> None:
    settings.ASYNC_DOWNLOADS_MAX_ACTIVE = 1
    views = quick_start("orders.views", placed("def start_if_there_is_room"))
    request: Any = posted(rf, user)
    for _ in range(2):
        assert views.start_if_there_is_room(request).status_code == 302
    assert Download.objects.count() == 1
    (told,) = request._messages
    assert str(told).startswith("You have 1 download in progress.")


def test_the_custom_properties_exist() -> None:
    stylesheet = (ROOT / "async_downloads/static/css/async_downloads.css").read_text()
    (css,) = snippets("css")
    for name in re.findall(r"(--[\w-]+):", css):
        assert f"{name}:" in stylesheet


def test_what_is_customised_in_a_browser() -> None:
    from tests.browser import test_customising

    assert test_customising.customised
    table = README.partition("| template | what it is | blocks |")[2].partition("\n\n")[0]
    for name, blocks in re.findall(r"^\| `([\w.]+)` \|.*\|([^|]*)\|$", table, re.MULTILINE):
        source = (ROOT / "async_downloads/templates/async_downloads" / name).read_text()
        assert re.findall(r"{% block (\w+) %}", source) == re.findall(r"`(\w+)`", blocks)


def test_the_configuration_of_htmx_is_ours() -> None:
    script = (ROOT / "async_downloads/static/js/async_downloads_centre.js").read_text()
    (config,) = re.findall(r"content='({.*})'", snippet("htmx-config"))
    for name, value in json.loads(config).items():
        assert f"{name}: {json.dumps(value)}" in script


@pytest.mark.django_db
def test_a_list_template_of_ones_own(user: Any) -> None:
    complete = DownloadFactory(collection__user=user, complete=True)
    running = DownloadFactory(collection__user=user, running=True)
    template = Template(snippet("Nothing to fetch"))
    page = template.render(Context({"downloads": [complete, running]}))
    assert f'<a href="{complete.url}">' in page
    assert "In progress, 0 %" in page
    assert "Nothing to fetch." in template.render(Context({"downloads": []}))


def test_the_names_of_a_download_exist() -> None:
    said = README.partition("newest first; each has")[2].partition("The polling is")[0]
    names = re.findall(r"`(\w+)`", said)
    assert len(names) > 10
    download = Download()
    assert [name for name in names if not hasattr(download, name)] == []


def test_the_asgi_application_routes_websockets(mysite: None) -> None:
    application = sys.modules["mysite.asgi"].application
    assert set(application.application_mapping) == {"http", "websocket"}


def test_nginx_understands_its_location(tmp_path: Path) -> None:
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("no nginx is installed")
    location = snippet("proxy_set_header Upgrade")
    configuration = f"pid {tmp_path}/pid; events {{}} http {{ server {{ {location} }} }}"
    (tmp_path / "nginx.conf").write_text(f"error_log {tmp_path}/log;\n{configuration}")
    arguments = [program, "-t", "-p", tmp_path, "-e", tmp_path / "log", "-c", "nginx.conf"]
    tested = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stderr


def test_the_table_of_settings_is_the_truth() -> None:
    rows = re.findall(r"^\| `ASYNC_DOWNLOADS_(\w+)` \| `(.*?)` \|", README, re.MULTILINE)
    told = {name: eval(default) for name, default in rows}  # noqa: S307 (our own text)
    assert told == settings.DEFAULTS


def test_the_table_of_checks_is_complete() -> None:
    modules = (ROOT / "async_downloads/checks").glob("*.py")
    source = "".join(module.read_text() for module in modules)
    used = set(re.findall(r"async_downloads\.[EW]\d{3}", source))
    assert used == set(re.findall(r"^\| `(async_downloads\.[EW]\d{3})`", README, re.MULTILINE))


def test_the_table_of_functions_is_complete() -> None:
    section = README.partition("### `async_downloads.cache`")[2].partition("### Exceptions")[0]
    from async_downloads import shortcuts

    told = set(re.findall(r"^\| `(\w+)", section, re.MULTILINE))
    for line in re.findall(r"^\| (.*?) \|", section, re.MULTILINE):
        told |= set(re.findall(r"`(\w+)[(`]", line))
    assert told == {*cache.__all__, *shortcuts.__all__, *exports.__all__}


def test_its_pictures_are_there() -> None:
    for picture in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README):
        assert (ROOT / picture).stat().st_size > 0, io.StringIO(picture)
