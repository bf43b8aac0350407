"""Make people whose pages poll, then change their downloads: ``python crowd.py SUBJECT SIZE``.

Prints the people as a line of JSON. Once a line arrives on its standard input, it reports progress
of one download after the other, as workers do, until the input ends.
"""

import importlib
import json
import os
import sys
import time
from threading import Thread

import django

#: Changes a second.
RATE = 30


def main(subject: str, size: int) -> None:
    """Make the people, and change their downloads between two lines of the input."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench_settings"
    django.setup()
    people = importlib.import_module(f"subjects.{subject}").crowd(size)
    print(json.dumps([person._asdict() for person in people]), flush=True)
    sys.stdin.readline()
    Thread(target=change, args=([person.key for person in people],), daemon=True).start()
    sys.stdin.read()


def change(keys: list[str]) -> None:
    """Report progress of one download after the other, round and round."""
    from async_downloads import cache

    began = time.monotonic()
    number = 0
    while True:
        time.sleep(max(0, began + number / RATE - time.monotonic()))
        key, percentage = keys[number % len(keys)], 2 + number // len(keys) % 98
        cache.set_percentage(key, percentage)
        number += 1


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
