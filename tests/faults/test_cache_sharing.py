"""Caches that processes share or do not share: races, keys, and caches per process."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final
from urllib.parse import quote

import pytest
from django.core.cache.backends.base import memcache_key_warnings

from tests.faults.harness import NewSite, RedisServer, eventually
from tests.faults.pages import Page, version_of

# Races

PROCESSES, THREADS = 5, 10

#: Makes downloads in several threads, once all processes have started.
INITS: Final = f"""
import threading
from django.db import connection
from async_downloads import cache
from tests.faults.site import steering

barrier = threading.Barrier({THREADS})

def init():
    barrier.wait()
    _, key = cache.init_download("ada", "orders.csv")
    connection.close()
    steering.append("keys.log", key)

threads = [threading.Thread(target=init) for _ in range({THREADS})]
steering.append("ready.log", "ready")
steering.wait_for("go")
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@pytest.mark.parametrize(
    ("database", "shared_by"), [("postgres", "redis"), ("sqlite", "file"), ("mariadb", "locmem")]
)
def test_fifty_downloads_that_one_user_starts_at_once_are_all_listed(
    new_site: NewSite, database: str, shared_by: str
) -> None:
    """Five processes make them before the collection exists, while a page is open."""
    site = new_site(database, cache=shared_by)
    with site.server() as server, Page(server.client()) as page:
        children = [site.start(INITS) for _ in range(PROCESSES)]
        site.until_messages("ready.log", PROCESSES)
        site.go()
        for child in children:
            assert child.wait() == 0, child.log
            assert not child.log
        keys = site.messages("keys.log")
        assert len(set(keys)) == PROCESSES * THREADS
        person = server.client()
        assert person.listed() == set(keys)
        assert set(person.shown().values()) == {"pending"}
        pages = [person.get(f"/async_downloads/list/?page={number}").text for number in (1, 2)]
        listed = re.findall(r'id="listed-download-([0-9a-f-]{36})"', "".join(pages))
        assert sorted(listed) == sorted(keys)
        # The menu shows the newest, and the number of all.
        eventually(lambda: f"All {len(keys)} downloads" in page.html, why="an open page")
        assert page.statuses <= {200, 204}
    assert len(site.query("SELECT * FROM async_downloads_downloadcollection")) == 1


# Keys

LABELS: Final = (
    "two words of a label",
    "x" * 300,
    "Ørsted 東京 🎈",
    "100 % {} {0} {name!r} \\ /../",
    "a:cleared",
    "\u2028\u00a0 at both ends \u3000",
)

USERNAMES: Final = ("two words", "x" * 150, "Zoë Ångström 北京 🎉")

USE_THE_CACHE: Final = """
from django.contrib.auth import get_user_model
from django.db import transaction
from async_downloads import cache, tasks
from async_downloads.models import Download
users = [get_user_model().objects.create(username=name) for name in {usernames!r}]
for owner in [*{labels!r}, *users]:
    collection_key, key = cache.init_download(owner, "orders.csv")
    assert cache.get_collection_key(owner) == collection_key
    cache.set_percentage(key, 10)
    with transaction.atomic():
        cache.set_percentage(key, 20)
    cache.save_download(key, [["id"], [1]])
    cache.cleanup_collection(collection_key)
    cache.init_download(owner, "left.csv")
    print(key)
tasks.cleanup_expired_downloads()
"""

#: A word in the output of Redis's ``MONITOR``.
QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')


@contextmanager
def monitored(server: RedisServer) -> Iterator[list[list[str]]]:
    """Collect the words of every command that a server receives."""
    commands: list[list[str]] = []
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"MONITOR\r\n")
        lines = connection.makefile()
        assert lines.readline().strip() == "+OK"

        def listen() -> None:
            for line in lines:
                words = [word.encode().decode("unicode_escape") for word in QUOTED.findall(line)]
                if words == ["ECHO", "the end"]:
                    return
                commands.append(words)

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield commands
        finally:
            with server.client() as client:
                client.echo("the end")
            thread.join()
            lines.close()


@pytest.mark.parametrize("key_format", ["async_downloads/{}", "the downloads of {} in a café"])
def test_every_key_is_valid_on_memcached(
    new_site: NewSite, redis_server: RedisServer, key_format: str
) -> None:
    """Names of owners have spaces, 300 characters, or letters beyond ASCII."""
    site = new_site(
        "sqlite", cache=redis_server.url, ASYNC_DOWNLOADS_COLLECTION_KEY_FORMAT=key_format
    )
    with monitored(redis_server) as commands, site.server() as server:
        keys = site.run(USE_THE_CACHE.format(usernames=USERNAMES, labels=LABELS)).split()
        for username in USERNAMES:
            person = server.client(quote(username))
            assert sorted(person.shown().values()) == ["complete", "pending"]
            assert person.poll().status == 200
            for key in person.shown():
                assert person.clear(key).status == 200
        assert not server.lines("left alone")
    used = {word for words in commands for word in words if word.startswith(site.name)}
    assert all(any(word.endswith(key) for word in used) for key in keys)
    assert len(used) > 2 * len(LABELS + USERNAMES)
    for key in used:
        assert not list(memcache_key_warnings(key))
        assert key.isascii()


# Caches per process, and rollbacks

#: An export that reports progress when the test sets a flag.
STEPS: Final = """
from async_downloads import cache
from tests.faults.site import steering
_, key = cache.init_download("ada", "orders.csv")
steering.append("keys.log", key)

def rows():
    for step in (10, 50, 90):
        steering.wait_for(f"go-{step}")
        cache.set_percentage(key, step)
        yield [step]
    steering.wait_for("go-100")

cache.save_download(key, rows())
"""


@pytest.mark.parametrize("unshared", ["locmem", "dummy"])
def test_a_cache_per_process_never_shows_stale_progress(new_site: NewSite, unshared: str) -> None:
    """The next poll of each web process shows what the worker has written."""
    site = new_site("sqlite", cache=unshared)
    with site.server() as server, site.server() as other:
        person, elsewhere = server.client(), other.client()
        site.start(STEPS)
        (key,) = site.until_messages("keys.log")
        site.until(key, state="running")
        version = version_of(person.poll().text)
        for step in (10, 50, 90):
            assert person.poll(version).status == elsewhere.poll(version).status == 204
            site.go(f"go-{step}")
            site.until(key, percentage=step)
            answers = [client.poll(version) for client in (elsewhere, person)]
            assert [f'value="{step}"' in answer.text for answer in answers] == [True, True]
            version = version_of(answers[0].text)
        site.go("go-100")
        site.until(key, state="complete")
        assert 'data-state="complete"' in person.poll(version).text


ROLLED_BACK: Final = """
from django.db import transaction
from async_downloads import cache

class Rollback(Exception):
    pass

def rolled_back(change, *arguments):
    try:
        with transaction.atomic():
            change(*arguments)
            raise Rollback
    except Rollback:
        pass

rolled_back(cache.init_download, "ada", "never.csv")
_, key = cache.init_download("ada", "orders.csv")
print(key)
rolled_back(cache.init_download, "ada", "never.csv")
rolled_back(cache.set_percentage, key, 50)
rolled_back(cache.save_download, key, [["id"], [1]])
"""


@pytest.mark.parametrize("database", ["postgres", "sqlite", "mariadb"])
def test_a_cache_in_the_database_does_not_show_changes_that_were_rolled_back(
    new_site: NewSite, database: str
) -> None:
    """Neither a download, nor progress, nor a file; a later attempt makes the file."""
    site = new_site(database, cache="database")
    with site.server() as server:
        person = server.client()
        key = site.run(ROLLED_BACK)
        shown = person.update()["downloads"]
        assert [(each["download_key"], each["state"], each["percentage"]) for each in shown] == [
            (key, "pending", 0)
        ]
        assert shown[0]["url"] == ""
        assert person.shown() == {key: "pending"}
        site.run(f"from async_downloads import cache; cache.save_download({key!r}, [[1], [2]])")
        (shown,) = person.update()["downloads"]
        assert person.get(shown["url"]).body == b"1\n2\n"
        assert person.clear(key).status == 200
        assert (person.shown(), site.files(), server.lines("ERROR")) == ({}, [], [])


@pytest.mark.parametrize("remembered_by", ["redis", "locmem", "none"])
def test_a_download_that_was_reported_as_cleared_does_not_come_back(
    new_site: NewSite, redis_server: RedisServer, remembered_by: str
) -> None:
    """Another transaction has locked the row, so that only the cache can remember it."""
    site = new_site("postgres", cache="locmem" if remembered_by == "locmem" else redis_server.url)
    with site.server() as server, site.server() as other:
        person, elsewhere = server.client(), other.client()
        key = person.begin("/start/rows/")
        with closing(site.database.connect()) as connection:
            connection.autocommit = False
            connection.execute("SELECT * FROM async_downloads_download FOR UPDATE")
            if remembered_by == "none":
                redis_server.kill()
            status = person.clear(key).status
        site.run(f"from async_downloads import cache; cache.save_download({key!r}, [[1]])")
        assert person.shown() == elsewhere.shown()
        assert status != 500
        assert (status == 200) == (person.shown() == {})
        assert remembered_by != "redis" or status == 200
