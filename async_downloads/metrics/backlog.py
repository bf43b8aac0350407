"""What is unfinished, read from the database when it is collected."""

from async_downloads import store
from async_downloads.store.transactions import DatabaseFault, on_separate_connection
from async_downloads.utils.log import get_logger

__all__ = ["read"]

logger = get_logger(__name__)


def read() -> store.Backlog | None:
    """Return what is unfinished; None if the database does not answer, which is logged.

    Any thread may collect. That of an event loop must not use a database, and one outside a
    request would keep its connection. So the connection is a separate one.
    """
    try:
        return on_separate_connection(store.read_backlog)
    except DatabaseFault as error:
        logger.warning("The metrics of unfinished downloads are left out: %s", error)
        return None
