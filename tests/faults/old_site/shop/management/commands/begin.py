"""Fill the site while 0.6 is installed, and print what 0.6 lists as JSON."""

import json

from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.core.management.base import BaseCommand
from django.test import Client

from async_downloads.cache import get_collection_key, init_download
from async_downloads.shortcuts import init_generic_csv_download
from shop import tasks

User = get_user_model()

#: Names that make odd cache keys; the last two are primary keys of other users.
NAMES = ["ada", "grace@example.org", "josé.müller+1", "Zoë O'Brien / 北京 & co", "2", "1"]

PICTURE = bytes(range(256)) * 999


def begin(user, filename, name=None, task=None, *args):
    """Make a download, run its task at once, and return the key."""
    key = init_download(user, filename, name)[1]
    if task is not None:
        task(key, *args)
    return key


def shown(name):
    """Return the list of a user: each name, and whether the download is complete or failed."""
    client = Client()
    client.force_login(User.objects.get(username=name))
    answer = client.get("/async_downloads/ajax_update/").json()
    return [[each["name"], each["complete"], bool(each["errors"])] for each in answer["downloads"]]


class Command(BaseCommand):
    """Fill the site."""

    def handle(self, **options):
        """Fill the site, and print the keys and the lists."""
        people = {name: User.objects.create_user(name) for name in NAMES}
        ada, grace, jose, zoe, two, one = people.values()
        keys = {
            "csv": begin(ada, "orders.csv", "All orders", tasks.orders, 1000),
            "utf-16": begin(ada, "Bestellungen größer 5.csv", None, tasks.orders, 3, "utf-16"),
            "interrupted": begin(ada, "long.csv", "A long one", tasks.break_off),
            "picture": begin(grace, "cat.png", "<b>A cat</b>", tasks.picture, PICTURE),
            "failed": begin(grace, "failed.csv", "Failed", tasks.fail),
            "given up": begin(jose, "may.csv", "May", tasks.give_up),
            "jose's": begin(jose.pk, "jose.csv", None, tasks.orders, 7),
            "zoe's": begin(zoe.username, "zoë.csv", "Für Zoë", tasks.orders, 8),
            "twice": begin(zoe, "twice.csv", None, tasks.save_twice),
            "two's": begin(two, "two.csv", None, tasks.orders, 2),
            "one's": begin(one, "one.csv", None, tasks.orders, 1),
            "label's": begin("the accounts team", "accounts.csv", None, tasks.orders, 5),
            "label's failed": begin("the accounts team", "late.csv", None, tasks.give_up),
            "missing from its list": begin(one, "lost.csv", None, tasks.orders, 11),
            "flushed": begin(one, "flushed.csv", None, tasks.orders, 12),
            "expired": begin(two, "expired.csv", None, tasks.orders, 13),
            "queued": init_generic_csv_download(tasks.orders, ada, "Later", 21)[1],
        }
        # In 0.6, two starts at once could lose a key of the list, and a full cache any entry.
        listed = cache.get(get_collection_key(one))
        lost = [keys["missing from its list"], keys["flushed"]]
        cache.set(get_collection_key(one), [key for key in listed if key not in lost], None)
        cache.delete_many([keys["flushed"], keys["expired"]])
        lists = {name: shown(name) for name in NAMES}
        self.stdout.write(json.dumps({"keys": keys, "lists": lists}))
