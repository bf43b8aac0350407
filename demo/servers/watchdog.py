"""Stop the servers of a demo that was killed before it could stop them itself.

The demo writes the number of each process group to the standard input of this process.
The input ends when the demo ends, in whatever way. Then this process stops the rest.
"""

import signal
import sys

from demo.servers import process_groups


def main() -> None:
    """Wait for the end of the demo."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # The demo handles these signals.
        signal.signal(number, signal.SIG_IGN)
    groups = [int(line) for line in sys.stdin]
    process_groups.stop(groups)


if __name__ == "__main__":
    main()
