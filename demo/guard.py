"""Ends the servers of a demo that was killed before it could do so itself.

It is told their process groups on its standard input, a line each. The input
ends when the demo does, however it ended; what is left then is stopped.
"""

import signal
import sys

from demo import processes


def main() -> None:
    """Wait for the demo to end."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # They are meant for the demo, which is still there to heed them.
        signal.signal(number, signal.SIG_IGN)
    groups = [int(line) for line in sys.stdin]
    processes.stop(groups)


if __name__ == "__main__":
    main()
