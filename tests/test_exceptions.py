"""The exceptions of this package."""

import pickle

import pytest

from async_downloads.exceptions import (
    DownloadCancelled,
    DownloadError,
    DownloadUnavailable,
    TooManyDownloadsError,
)


@pytest.mark.parametrize(
    "kind", [DownloadCancelled, DownloadError, DownloadUnavailable, TooManyDownloadsError]
)
def test_an_exception_can_be_pickled(kind: type[Exception]) -> None:
    # Queues pickle the exception of a task.
    copy = pickle.loads(pickle.dumps(kind("Choose a shorter period.")))  # noqa: S301 (our own)
    assert type(copy) is kind
    assert str(copy) == "Choose a shorter period."


def test_a_cancelled_attempt_is_not_a_failure() -> None:
    assert not issubclass(DownloadCancelled, DownloadError)
    assert not issubclass(DownloadError, DownloadCancelled)
    # A site's own "except Exception" around a step must catch it.
    assert issubclass(DownloadCancelled, Exception)
