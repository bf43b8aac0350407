"""Records of the log that say which download they are about.

Each record of this package has the attribute ``download_key``, so that a
formatter or a log server can find what was said of one download: text, or None
where no download is meant.
"""

import logging
import re
import uuid
from typing import Final

__all__ = ["get_logger"]

_KEY: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")


def get_logger(name: str) -> logging.Logger:
    """Return the logger of a module.

    Args:
        name: The module's.
    """
    logger = logging.getLogger(name)
    logger.addFilter(_keyed)
    return logger


def _keyed(record: logging.LogRecord) -> bool:
    """Give a record the key that its message names, and let it pass."""
    arguments = record.args if isinstance(record.args, tuple) else ()
    record.download_key = next((str(each) for each in arguments if _is_key(each)), None)
    return True


def _is_key(argument: object) -> bool:
    if isinstance(argument, str):
        return _KEY.fullmatch(argument) is not None
    return isinstance(argument, uuid.UUID)
