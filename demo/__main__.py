"""The command line of the demo: a database, a web server and a django-q2 cluster.

``python -m demo`` runs until Ctrl-C. ``python -m demo --check`` uses the shop as three
people do, over HTTP, and reports whether everything worked. ``python -m demo
--distributed`` runs the processes of several machines on this one.
"""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import django

from demo.servers import prerequisites

#: Fewer orders than people see, so that the check is quick on a busy machine, too.
CHECK_ORDERS: Final = "50000"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo, and return its exit code."""
    options = _options(arguments)
    # A service manager or a closed terminal stops it in the same way as Ctrl-C.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        with _data_folder(temporary=options.check):
            return _run(options)
    except KeyboardInterrupt:
        print("\nStopped.")
        return 128 + signal.SIGINT


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m demo",
        description="A small shop that exports its 200,000 orders.",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="use every export over HTTP, without a browser, and exit",
    )
    parser.add_argument(
        "--port",
        type=_port,
        default=8000,
        metavar="N",
        help="the port, or the next free one if it is taken (default: %(default)s)",
    )
    parser.add_argument(
        "--ws",
        action="store_true",
        help="push changes over websockets; needs Redis (at DEMO_REDIS, or on its usual port)",
    )
    parser.add_argument(
        "--distributed",
        action="store_true",
        help="two web servers behind nginx, two clusters and S3; needs PostgreSQL (at "
        "DEMO_DATABASE_URL) and Redis; with --check, a cluster is killed while it works",
    )
    return parser.parse_args(arguments)


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port < 65536:
        raise argparse.ArgumentTypeError(f"the port is {port}; it must be from 1 to 65535")
    return port


@contextmanager
def _data_folder(*, temporary: bool) -> Iterator[None]:
    """Choose the folder of the data before the settings are read."""
    if not temporary:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="async-downloads-demo-") as folder:
        os.environ["DEMO_VAR"] = folder
        yield


def _run(options: argparse.Namespace) -> int:
    try:
        if options.distributed:
            with prerequisites.distributed_environment(check=options.check):
                return _run_distributed(options)
        return _run_on_one_machine(options)
    except prerequisites.MissingError as error:
        print(error, file=sys.stderr)
        return 1


def _run_on_one_machine(options: argparse.Namespace) -> int:
    if options.ws:
        prerequisites.use_websockets()
    else:
        os.environ.pop("DEMO_REDIS", None)
    if options.check:
        os.environ.setdefault("DEMO_ORDERS", CHECK_ORDERS)
    os.environ["DJANGO_SETTINGS_MODULE"] = "demo.settings"
    django.setup()
    # These modules import models, which are available only now.
    from demo.checks import single_machine
    from demo.serve import serve
    from demo.servers.single_machine import SingleMachine

    if options.check:
        return single_machine.run(options.port)
    return serve(SingleMachine(options.port))


def _run_distributed(options: argparse.Namespace) -> int:
    os.environ["DJANGO_SETTINGS_MODULE"] = "demo.settings.distributed"
    django.setup()
    from demo.checks import distributed
    from demo.serve import serve
    from demo.servers.distributed import Distributed

    if options.check:
        return distributed.run(options.port)
    return serve(Distributed(options.port, os.environ.get("DEMO_BROKER", "orm")))


if __name__ == "__main__":
    sys.exit(main())
