"""The demo: a database, a web server and a django-q2 cluster, from one command.

``python -m demo`` runs until Ctrl-C; ``python -m demo --check`` uses it all as
two customers would, without a browser, and tells whether everything worked.
``python -m demo --distributed`` is what several machines run, on this one.
"""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import django

from demo import surroundings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo, and return its exit code."""
    options = _options(arguments)
    # A service manager's way of stopping it, or a closed terminal, is no different from Ctrl-C.
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
        "--check", action="store_true", help="try everything over HTTP, headless, and exit"
    )
    parser.add_argument(
        "--port",
        type=_port,
        default=8000,
        metavar="N",
        help="the first port to try; a taken one gives the next (default: %(default)s)",
    )
    parser.add_argument(
        "--ws",
        action="store_true",
        help="push changes over websockets; needs a Redis (at DEMO_REDIS, or on its usual port)",
    )
    parser.add_argument(
        "--distributed",
        action="store_true",
        help="two web servers behind nginx, two clusters, S3; needs a PostgreSQL (at "
        "DEMO_DATABASE_URL) and a Redis; with --check, a cluster is killed on the way",
    )
    return parser.parse_args(arguments)


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port < 65536:
        raise argparse.ArgumentTypeError("a port is a number from 1 to 65535")
    return port


@contextmanager
def _data_folder(*, temporary: bool) -> Iterator[None]:
    """Choose where everything is kept, before the settings are read."""
    if not temporary:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="async-downloads-demo-") as folder:
        os.environ["DEMO_VAR"] = folder
        yield


def _run(options: argparse.Namespace) -> int:
    try:
        if options.distributed:
            with surroundings.surrounded(check=options.check):
                return _run_distributed(options)
        return _run_on_one_machine(options)
    except surroundings.MissingError as error:
        print(error, file=sys.stderr)
        return 1


def _run_on_one_machine(options: argparse.Namespace) -> int:
    if options.ws:
        surroundings.use_websockets()
    else:
        os.environ.pop("DEMO_REDIS", None)
    os.environ["DJANGO_SETTINGS_MODULE"] = "demo.settings"
    django.setup()
    # They import models, which are there only now.
    from demo import check, serve
    from demo.services import Services

    services = Services(options.port)
    if options.check:
        return check.run(services, lambda log: check.Check(services, log).run())
    return serve.run(services)


def _run_distributed(options: argparse.Namespace) -> int:
    os.environ["DJANGO_SETTINGS_MODULE"] = "demo.distributed"
    django.setup()
    from demo import serve, takeover
    from demo.machines import Machines

    if options.check:
        return takeover.run(options.port)
    return serve.run(Machines(options.port, os.environ.get("DEMO_BROKER", "orm")))


if __name__ == "__main__":
    sys.exit(main())
