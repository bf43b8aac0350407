"""Answer requests of one version: ``python respond.py SUBJECT``.

Prints the names of its exchanges as JSON. For each name on its standard input, it measures that
exchange, and prints what it costs.
"""

import importlib
import json
import os
import sys

import django


def main(subject: str) -> None:
    """Make the exchanges of a subject, and measure one for each line of the input."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench_settings"
    django.setup()
    exchanges = importlib.import_module(f"subjects.{subject}").exchanges()
    print(json.dumps(list(exchanges)), flush=True)
    for line in sys.stdin:
        print(json.dumps(exchanges[line.strip()].measure()), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
