"""Every check, build and tool of this project; ``nox -l`` lists them."""

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nox
from nox.command import CommandFailed

sys.path.insert(0, str(Path(__file__).parent))

from tests import services

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["tests", "faults", "browser", "lint", "types", "layers", "docs", "wheel"]
nox.options.reuse_existing_virtualenvs = True
# uv installs in a fraction of the time that pip needs, if it is there: "pip install nox[uv]".
nox.options.default_venv_backend = "uv|venv"
nox.options.error_on_missing_interpreters = False

# Python and pytest keep compiled modules, even if the machine turns that off: every process would
# otherwise rewrite the asserts of all tests again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# uv downloads no Python: one that is not installed is skipped.
os.environ.setdefault("UV_PYTHON_DOWNLOADS", "never")
# An environment of another Python is made anew.
os.environ.setdefault("NOX_ENABLE_STALENESS_CHECK", "1")

PROJECT = nox.project.load_toml("pyproject.toml")
SERVERS = ("postgres", "mariadb")
DATABASES = ("sqlite", *SERVERS)
FAILED = "failed"

#: One process more than processors, as some wait for others. A module runs in one process, in
#: the order of collection: long tests come first.
IN_PARALLEL = (
    *("-n", str(1 + (os.cpu_count() or 1))),
    *("--dist", "loadscope", "--no-loadscope-reorder"),
)

#: More processes for tests that mostly wait for processes of their own.
WAITING = ("-n", str(3 * (os.cpu_count() or 1)), *IN_PARALLEL[2:])

#: The environment that ``nox -s environment`` makes, for all sessions that run tests.
SHARED = Path(".nox", "environment").absolute()

#: npm packages of the browser tests.
FRONT_END = (
    *("axe-core@4", "bootstrap-4@npm:bootstrap@4", "bootstrap-5@npm:bootstrap@5"),
    *("tailwindcss@4", "@hotwired/turbo@8", "unpoly@3"),
)

#: The quick tests on the first database and on the others, and the long tests, by the markers in
#: pyproject.toml. Folders of only long tests are not even imported for the quick ones.
WITHOUT_LONG = ("--ignore=tests/browser", "--ignore=tests/faults")
QUICK = ("-m", "not long", *WITHOUT_LONG)
QUICK_AGAIN = ("-m", "not long and not any_database", *WITHOUT_LONG)
LONG = ("-m", "long", "--ignore=tests/browser")

#: Pythons and Djangos besides the one that ``nox -s tests`` runs with.
MATRIX = [
    ("3.12", "6.0"),
    ("3.13", "6.1"),
]


def group(name: str) -> list[str]:
    """Return the requirements of a dependency group."""
    return nox.project.dependency_groups(PROJECT, name)


@nox.session
def environment(session: nox.Session) -> None:
    """Install what the sessions need that run tests on this Python; they call it themselves."""
    # Some tests install packages with pip.
    wanted = ["pip", "-e", ".[ws,celery]", *group("tests")]
    done = SHARED / "installed.txt"
    state = "\n".join([str(Path.cwd()), *wanted, Path("pyproject.toml").read_text()])
    if not done.is_file() or done.read_text() != state:
        session.install(*wanted)
        done.write_text(state)
    if services.available("mariadb"):
        # The driver is built from source. If that fails, MariaDB is not tested.
        session.install("mysqlclient>=2.2.1", silent=True, success_codes=[0, 1])


@nox.session(venv_backend="none", requires=["environment"])
def tests(session: nox.Session) -> None:
    """Run the quick tests on SQLite, and on every database server that answers.

    Servers get the tests for which the database matters, at the same time. After a failure on
    one database, the others still run. Redis is used if it answers. The services in
    TESTS_REQUIRE must answer. Arguments are passed to pytest.
    """
    unavailable = {database: missing(session, database) for database in DATABASES}
    results = {name: f"skipped: {why}" for name, why in unavailable.items() if why}
    servers = [name for name in SERVERS if not unavailable[name]]
    if session.posargs:
        for database in ["sqlite", *servers]:
            results[database] = result_of(session, session.posargs, database)
    else:
        results["sqlite"] = result_of(session, [*QUICK, *IN_PARALLEL], "sqlite")
        if servers:
            arguments = [*QUICK_AGAIN, *at_once(servers)]
            results[" and ".join(servers)] = result_of(session, arguments, *servers)
    results["redis"] = "used" if services.available("redis") else "skipped"
    summarise(session, results)


@nox.session(venv_backend="none", requires=["environment"])
def faults(session: nox.Session) -> None:
    """Break real parts: processes, servers, databases, storages; and follow the documentation."""
    fetch_old_package(session)
    # They use every available database in one run.
    unavailable = {database: missing(session, database) for database in DATABASES}
    results = {name: f"skipped: {why}" for name, why in unavailable.items() if why}
    results["faults"] = result_with_repetition(session, "faults", LONG, WAITING)
    summarise(session, results)


@nox.session(venv_backend="none", requires=["environment"])
def browser(session: nox.Session) -> None:
    """Use the download centre in Chromium, Firefox and WebKit: in each that is installed."""
    install_front_end(session)
    result = result_with_repetition(session, "browser", ("tests/browser",), IN_PARALLEL)
    summarise(session, {"browser": result})


@nox.session(venv_backend="none", requires=["environment"])
def pictures(session: nox.Session) -> None:
    """Take the pictures of the README and the documentation anew, in a real Chromium."""
    install_front_end(session)
    os.environ["UPDATE_SCREENSHOTS"] = "1"
    arguments = ["tests/browser", "-m", "pictures", *session.posargs]
    summarise(session, {"pictures": result_of(session, arguments, "sqlite")})


@nox.session(venv_backend="none", requires=["environment"])
def coverage(session: nox.Session) -> None:
    """Run the quick tests on SQLite, and show which lines and branches of the package they reach.

    Child processes are not measured. No threshold applies.
    """
    arguments = [*QUICK, *IN_PARALLEL, "--cov", "--cov-report=term:skip-covered"]
    summarise(session, {"coverage": result_of(session, session.posargs or arguments, "sqlite")})


def run_shared(session: nox.Session, *arguments: str, **options: Any) -> Any:
    """Run the Python of the shared environment."""
    folder = SHARED / "bin"
    env = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", **options.pop("env", {})}
    return session.run(str(folder / "python"), *arguments, env=env, **options)


def at_once(databases: Iterable[str]) -> list[str]:
    """Return the options with which pytest runs each test on each database.

    A process for each database collects and runs the tests. Its reports have the name of the
    database. While one waits for its server, the other computes.
    """
    processes = [f"--tx=popen//id={name}//env:TEST_DATABASE={name}" for name in databases]
    return ["--dist", "each", *processes]


def result_of(session: nox.Session, arguments: Iterable[str], *databases: str) -> str:
    """Run pytest on a database, or on several at once, and return the result with its time."""
    began = time.monotonic()
    env = {"TEST_DATABASE": databases[0]}
    if "postgres" in databases:
        # No test needs what it has committed after a power cut.
        env["PGOPTIONS"] = "-c synchronous_commit=off " + os.environ.get("PGOPTIONS", "")
    try:
        run_shared(session, "-m", "pytest", *arguments, env=env)
    except CommandFailed:
        end = FAILED
    else:
        end = "passed"
    return f"{end} after {time.monotonic() - began:.0f} s"


def result_with_repetition(
    session: nox.Session, name: str, chosen: tuple[str, ...], parallel: tuple[str, ...]
) -> str:
    """Run tests of real processes and browsers, and those that fail once more, one by one.

    A browser may not start on a machine that does ten things at once. The result says that tests
    were repeated, and the output says which, so that none stays unsteady unseen. Tests that are
    chosen by arguments of the session are not repeated.
    """
    if session.posargs:
        return result_of(session, session.posargs, "sqlite")
    # The two sessions may run at once, and each remembers its own failures.
    cache = ("-o", f"cache_dir={Path('.nox', 'failed', name).absolute()}")
    result = result_of(session, [*chosen, *parallel, *cache], "sqlite")
    if not result.startswith(FAILED):
        return result
    session.warn(f"{name}: {result}. The tests that have failed are repeated one by one:")
    failed = ("--last-failed", "--last-failed-no-failures=none", "--verbose")
    return f"{result_of(session, [*chosen, *failed, *cache], 'sqlite')}, repeated"


def summarise(session: nox.Session, results: dict[str, str]) -> None:
    """Print the result of each part of a session, and fail if one has failed."""
    names = [name for name in services.SERVICES if services.available(name)]
    session.log(f"Available on this machine: {', '.join(names) or 'nothing'}.")
    for name, end in results.items():
        session.log(f"{name}: {end}")
    failed = [name for name, end in results.items() if end.startswith(FAILED)]
    if failed:
        session.error(f"Failed: {', '.join(failed)}.")


def install_front_end(session: nox.Session) -> None:
    """Install the npm packages of the browser tests, if npm and a browser are available."""
    if not (services.chromium() and shutil.which("npm")):
        return
    folder = Path(".nox", "front-end").absolute()
    os.environ.setdefault("TEST_NODE_MODULES", str(folder / "node_modules"))
    if services.available("front-end"):
        return
    arguments = ("--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts")
    session.run("npm", "install", *arguments, *FRONT_END, external=True, success_codes=[0, 1])


def fetch_old_package(session: nox.Session) -> None:
    """Download the packages of a site on 0.6.0, for the test that upgrades one."""
    os.environ.setdefault("TEST_OLD_PACKAGE", str(services.old_wheels()))
    if services.available("old-package"):
        return
    arguments = ("download", "-q", "-d", str(services.old_wheels()), *services.OLD_PACKAGE)
    run_shared(session, "-m", "pip", *arguments, success_codes=[0, 1], silent=True)


def missing(session: nox.Session, database: str) -> str:
    """Return why the tests cannot run on a database; an empty text if they can."""
    if database == "sqlite":
        return ""
    if not services.available(database):
        if database in services.required():
            session.error(f"{database} is required and does not answer.")
        return f"no server answers at {services.url(database).hostname}"
    if database == "mariadb" and not has_mysqlclient(session):
        if database in services.required():
            session.error("mysqlclient is required and could not be built.")
        return "mysqlclient could not be built; it needs a C compiler and the client's headers"
    return ""


def has_mysqlclient(session: nox.Session) -> bool:
    """Return whether the driver could be built."""
    probe = ("-c", "import MySQLdb; print('importable')")
    found = run_shared(session, *probe, success_codes=[0, 1], silent=True, log=False)
    return "importable" in str(found)


@nox.session
@nox.parametrize(
    ("python", "django"),
    MATRIX,
    ids=[f"python{python}-django{django}" for python, django in MATRIX],
)
def matrix(session: nox.Session, django: str) -> None:
    """Run the tests on each Python that is installed and its Django; TEST_DATABASE names one."""
    driver = ["mysqlclient>=2.2.1"] if os.environ.get("TEST_DATABASE") == "mariadb" else []
    session.install("-e", ".[ws,celery]", *group("tests"), f"django~={django}.0", *driver)
    session.run("pytest", *(session.posargs or [*QUICK, *IN_PARALLEL]))


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and common mistakes with ruff."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of the package, strictly."""
    session.install("-e", ".[ws,celery,testing]", *group("types"))
    session.run("mypy")


@nox.session
def layers(session: nox.Session) -> None:
    """Check that imports point down the layers."""
    session.install("-e", ".", *group("lint"))
    session.run("lint-imports")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation, with warnings as errors; ``-- --links`` looks up links."""
    session.install("-e", ".[ws,celery,import-export,testing]", *group("docs"))
    builder = "linkcheck" if "--links" in session.posargs else "html"
    # Sphinx repeats no warning of a page that it does not read again.
    options = ("--fresh-env", "--nitpicky", "--fail-on-warning", "--keep-going")
    session.run("sphinx-build", *options, "--builder", builder, "docs", f"docs/_build/{builder}")


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the wheel, install it elsewhere, and try it there."""
    session.install("build")
    with tempfile.TemporaryDirectory() as folder:
        session.run("python", "-m", "build", "--outdir", folder, silent=True)
        (built,) = Path(folder).glob("*.whl")
        session.run("python", "tests/wheel.py", "contents", str(built))
        session.run("python", "-m", "venv", f"{folder}/venv")
        python = f"{folder}/venv/bin/python"
        session.run(python, "-m", "pip", "install", "-q", str(built), external=True)
        trial = Path(folder, "trial.py")
        shutil.copy("tests/wheel.py", trial)
        with session.chdir(folder):
            session.run(python, str(trial), "try", external=True, env={"PYTHONPATH": ""})


@nox.session
def audit(session: nox.Session) -> None:
    """Look up known vulnerabilities of what the package depends on; needs the internet."""
    session.install("pip", ".[ws,celery,import-export]")
    found = session.run("python", "-m", "pip", "freeze", silent=True, log=False)
    pinned = [line for line in str(found).splitlines() if "==" in line]
    session.install("pip-audit>=2.7")
    with tempfile.TemporaryDirectory() as folder:
        wanted, report = Path(folder, "requirements.txt"), Path(folder, "report.json")
        wanted.write_text("\n".join(pinned))
        session.run(
            *("pip-audit", "--requirement", str(wanted), "--no-deps", "--disable-pip"),
            *("--vulnerability-service", "osv", "--format", "json", "--output", str(report)),
            *("--progress-spinner", "off"),
            success_codes=[0, 1],
            silent=True,
        )
        if not report.is_file() or not report.read_text():
            session.error("The database of vulnerabilities cannot be reached: nothing is known.")
        audited = json.loads(report.read_text())["dependencies"]
    bad = [f"{each['name']} {each.get('version')}" for each in audited if each.get("vulns")]
    if bad:
        session.error(f"Known vulnerabilities in {', '.join(bad)}.")
    session.log(f"Nothing is known against any of {len(audited)} packages.")


@nox.session
def demo(session: nox.Session) -> None:
    """Run the demo shop; ``-- --check`` tries it automatically, ``-- --ws`` uses Redis.

    ``-- --distributed`` uses PostgreSQL, Redis and nginx.
    """
    session.install("-e", ".", "factory-boy>=3.3", "prometheus-client>=0.20")
    if "--ws" in session.posargs:
        session.install("-e", ".[ws]", "daphne>=4.1")
    if "--distributed" in session.posargs:
        session.install("-e", ".[ws]", *group("distributed"))
    # The demo needs time to stop its own processes.
    session.run("python", "-m", "demo", *session.posargs, interrupt_timeout=15)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure beside 0.6.0 and the floors, without a verdict. ``-- --help`` lists options."""
    session.install("-e", ".[ws]", *group("tests"))
    django = session.run(
        *("python", "-c", "import django; print(django.__version__)"), silent=True, log=False
    )
    # 0.6.0 has the same package name, so it needs an environment of its own.
    old = Path(".nox", "bench-0.6.0").absolute()
    if not (old / "bin").is_dir():
        session.run("python", "-m", "venv", str(old))
    python = str(old / "bin" / "python")
    wanted = (f"django=={str(django).strip()}", *group("version-0-6"))
    session.run(python, "-m", "pip", "install", "-q", *wanted, external=True)
    session.run(
        *("python", "-m", "tests.bench", *session.posargs),
        env={"DJANGO_SETTINGS_MODULE": "tests.settings", "BENCH_OLD_PYTHON": python},
    )


@nox.session
def messages(session: nox.Session) -> None:
    """Collect the texts to translate, and compile the translations; needs GNU gettext."""
    session.install("-e", ".[ws]", *group("tests"))
    env = {"DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(Path.cwd())}
    with session.chdir("async_downloads"):
        languages = [f"--locale={path.name}" for path in sorted(Path("locale").iterdir())]
        options = ("--no-location", "--no-wrap", "--no-obsolete")
        session.run("python", "-m", "django", "makemessages", *languages, *options, env=env)
        session.run("python", "-m", "django", "compilemessages", env=env)


@nox.session
def migrations(session: nox.Session) -> None:
    """Write the migrations of changed models."""
    session.install("-e", ".[ws]", *group("tests"))
    env = {"DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(Path.cwd())}
    session.run(
        "python", "-m", "django", "makemigrations", "async_downloads", *session.posargs, env=env
    )
