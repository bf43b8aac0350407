"""The demo: a database, a web server and a django-q2 cluster, from one command.

``python -m demo`` runs until Ctrl-C; ``python -m demo --check`` uses it all as
two customers would, without a browser, and tells whether everything worked.
"""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import django


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


def _use_redis() -> str:
    """Have the settings use Redis and websockets; returns what is missing, or an empty text."""
    try:
        import channels_redis  # noqa: F401
        import daphne  # noqa: F401
        import redis
    except ImportError as error:
        return f"{error}: the demo with --ws needs daphne and the extra ws."
    url = os.environ.setdefault("DEMO_REDIS", "redis://127.0.0.1:6379/0")
    try:
        with redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as client:
            client.ping()
    except (redis.RedisError, ValueError) as error:
        return f"No Redis answers at {url} (set DEMO_REDIS to where it does): {error}"
    return ""


def _run(options: argparse.Namespace) -> int:
    if options.ws:
        if missing := _use_redis():
            print(missing, file=sys.stderr)
            return 1
    else:
        os.environ.pop("DEMO_REDIS", None)
    os.environ["DJANGO_SETTINGS_MODULE"] = "demo.settings"
    django.setup()
    # They import models, which are there only now.
    from demo import check, serve

    return check.run(options.port) if options.check else serve.run(options.port)


if __name__ == "__main__":
    sys.exit(main())
