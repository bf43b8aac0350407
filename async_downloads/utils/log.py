"""Loggers whose records name the download that they are about.

Each record of this package has the attribute ``download_key``, so that a formatter or
a log server can find all records of one download. It is the first argument of the
message that is a UUID, as text; None without one. A call that logs a download therefore
needs no ``extra``, and cannot forget it.
"""

import logging
import re
import uuid
from typing import Final

__all__ = ["get_logger"]

_KEY: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")


def get_logger(name: str) -> logging.Logger:
    """Return the logger of the module with this name."""
    logger = logging.getLogger(name)
    logger.addFilter(_add_key)
    return logger


def _add_key(record: logging.LogRecord) -> bool:
    """Set the attribute of a record, and let it pass."""
    arguments = record.args if isinstance(record.args, tuple) else ()
    keys = (str(argument) for argument in arguments if _is_key(argument))
    record.download_key = next(keys, None)
    return True


def _is_key(argument: object) -> bool:
    if isinstance(argument, str):
        return _KEY.fullmatch(argument) is not None
    return isinstance(argument, uuid.UUID)
