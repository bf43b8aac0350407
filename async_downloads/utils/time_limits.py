"""Exceptions of time limits, which a queue raises in the middle of any line of a task."""

import signal

__all__ = ["raise_time_limit", "time_limit_in"]


def time_limit_in(error: BaseException) -> BaseException | None:
    """Return the exception that a signal handler has raised; None if the error has another cause.

    Code that goes on after any error, such as one of a cache, must raise it: it is raised once,
    wherever the task is, and the task would never end.

    Args:
        error: The error. A client may have raised it because of the other one.
    """
    handlers = {
        getattr(signal.getsignal(each), "__code__", None) for each in signal.valid_signals()
    }
    cause: BaseException | None = error
    while cause is not None:
        traceback = cause.__traceback__
        while traceback is not None:
            if traceback.tb_frame.f_code in handlers:
                return cause
            traceback = traceback.tb_next
        cause = cause.__cause__ or cause.__context__
    return None


def raise_time_limit(error: BaseException) -> None:
    """Raise the exception of a time limit, if that has caused an error which was handled."""
    if time_limit := time_limit_in(error):
        raise time_limit from None
