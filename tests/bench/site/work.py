"""Report progress of downloads as a worker does: ``python work.py``.

Each line of its standard input is a key and a percentage; it prints an empty line once the
progress is recorded.
"""

import os
import sys

import django


def main() -> None:
    """Report progress for each line of the input."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench_settings"
    django.setup()
    from async_downloads import cache

    for line in sys.stdin:
        key, percentage = line.split()
        cache.set_percentage(key, int(percentage))
        print(flush=True)


if __name__ == "__main__":
    main()
