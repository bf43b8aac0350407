"""A private database for each site, copied from a migrated template and read without Django."""

import contextlib
import os
import shutil
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import unquote

from tests import services

__all__ = ["DATABASES", "Database", "Mariadb", "Postgres", "Sqlite"]

#: Migrates the database of these Django settings.
Migrate = Callable[[dict[str, Any]], None]


class Database:
    """An empty or migrated database, dropped by ``close``."""

    kind: ClassVar[str]

    #: The migrated database of each kind that this process copies the others from.
    templates: ClassVar[dict[str, "Database"]] = {}

    def __init__(self, folder: Path):
        self.folder = folder
        self.name = f"async_downloads_faults_{os.getpid()}_{uuid.uuid4().hex[:8]}"

    @classmethod
    def missing(cls) -> str:
        """Return why this machine cannot make one; an empty text if it can."""
        return ""

    @classmethod
    def empty(cls, folder: Path) -> "Database":
        """Create one without tables."""
        database = cls(folder)
        database.create(None)
        return database

    @classmethod
    def migrated(cls, folder: Path, templates: Path, migrate: Migrate) -> "Database":
        """Create a copy of the template, which is migrated the first time.

        Args:
            folder: The folder for a database that is a file.
            templates: The folder for the template, if that is a file.
            migrate: Migrates the template.
        """
        template = Database.templates.get(cls.kind)
        if template is None:
            template = Database.templates[cls.kind] = cls.empty(templates)
            try:
                migrate(template.settings)
            except BaseException:
                Database.templates.pop(cls.kind).close()
                raise
        database = cls(folder)
        database.create(template)
        return database

    @classmethod
    def close_templates(cls) -> None:
        """Drop the templates of this process."""
        while cls.templates:
            cls.templates.popitem()[1].close()

    @property
    def settings(self) -> dict[str, Any]:
        """Its settings in ``DATABASES``."""
        raise NotImplementedError

    def create(self, template: "Database | None") -> None:
        """Create the database, as a copy or empty."""
        raise NotImplementedError

    def connect(self) -> Any:
        """Return a connection of the driver, in autocommit mode."""
        raise NotImplementedError

    def close(self) -> None:
        """Drop the database."""
        raise NotImplementedError

    def query(self, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        """Run a statement and return its rows, if any, as dictionaries."""
        with contextlib.closing(self.connect()) as connection:
            cursor = connection.cursor()
            cursor.execute(statement, parameters)
            if cursor.description is None:
                return []
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


class Sqlite(Database):
    """A file, with the options that the documentation recommends."""

    kind = "sqlite"

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.path = folder / f"{self.name}.sqlite3"

    @property
    def settings(self) -> dict[str, Any]:
        return services.database_settings("sqlite", self.folder) | {
            "NAME": str(self.path),
            "TEST": {},
        }

    def create(self, template: Database | None) -> None:
        if isinstance(template, Sqlite):
            shutil.copy(template.path, self.path)

    def connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=20, isolation_level=None)

    def close(self) -> None:
        for path in self.folder.glob(f"{self.path.name}*"):
            path.unlink(missing_ok=True)


class _OnServer(Database):
    @classmethod
    def missing(cls) -> str:
        if not services.available(cls.service):
            return f"{cls.kind} does not answer at {services.url(cls.service).hostname}"
        return cls.missing_driver()

    @classmethod
    def missing_driver(cls) -> str:
        """Return which driver is missing; an empty text if none is."""
        return "" if find_spec(cls.driver) else f"{cls.kind} needs {cls.driver}"

    driver: ClassVar[str]

    #: The name of the server in ``tests.services``, and its address if it is another one.
    service: ClassVar[str]
    address: ClassVar[dict[str, Any]] = {}

    @property
    def settings(self) -> dict[str, Any]:
        options = services.database_settings(self.service, self.folder)
        address = {name.upper(): value for name, value in self.server().items()}
        return options | address | {"NAME": self.name, "TEST": {}}

    @classmethod
    def server(cls) -> dict[str, Any]:
        """Return the arguments of a connection to the server."""
        if cls.address:
            return cls.address
        parts = services.url(cls.service)
        return {
            "host": parts.hostname,
            "port": parts.port or 0,
            "user": unquote(parts.username or ""),
            "password": unquote(parts.password or ""),
        }

    @classmethod
    @contextlib.contextmanager
    def administration(cls) -> Iterator[Any]:
        """Yield a cursor that may create and drop databases."""
        raise NotImplementedError


class Postgres(_OnServer):
    """A database of a PostgreSQL server."""

    kind = service = "postgres"
    driver = "psycopg"

    @classmethod
    @contextlib.contextmanager
    def administration(cls) -> Iterator[Any]:
        import psycopg

        database = "postgres" if cls.address else services.url(cls.service).path.lstrip("/")
        with psycopg.connect(**cls.server(), dbname=database, autocommit=True) as connection:
            yield connection.cursor()

    def create(self, template: Database | None) -> None:
        source = "template0" if template is None else template.name
        with self.administration() as cursor:
            cursor.execute(f"CREATE DATABASE {self.name} TEMPLATE {source}")

    def connect(self) -> Any:
        import psycopg

        return psycopg.connect(**self.server(), dbname=self.name, autocommit=True)

    def close(self) -> None:
        with self.administration() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)")


class Mariadb(_OnServer):
    """A database of a MariaDB server."""

    kind = service = "mariadb"
    driver = "MySQLdb"

    @classmethod
    @contextlib.contextmanager
    def administration(cls) -> Iterator[Any]:
        import MySQLdb

        with contextlib.closing(MySQLdb.connect(**cls.server(), autocommit=True)) as connection:
            yield connection.cursor()

    def create(self, template: Database | None) -> None:
        with self.administration() as cursor:
            cursor.execute(f"CREATE DATABASE {self.name} CHARACTER SET utf8mb4")
            if template is None:
                return
            cursor.execute("SET foreign_key_checks = 0")
            cursor.execute(f"USE {self.name}")
            cursor.execute(f"SHOW TABLES FROM {template.name}")
            for (table,) in cursor.fetchall():
                cursor.execute(f"SHOW CREATE TABLE {template.name}.`{table}`")
                cursor.execute(cursor.fetchone()[1])
                rows = f"SELECT * FROM {template.name}.`{table}`"  # noqa: S608 (generated names)
                cursor.execute(f"INSERT INTO `{table}` {rows}")

    def connect(self) -> Any:
        import MySQLdb

        return MySQLdb.connect(**self.server(), database=self.name, autocommit=True)

    def close(self) -> None:
        with self.administration() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {self.name}")


DATABASES: Final[dict[str, type[Database]]] = {
    kind.kind: kind for kind in (Sqlite, Postgres, Mariadb)
}
