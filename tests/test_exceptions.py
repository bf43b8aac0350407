"""What this package raises on purpose."""

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
def test_an_exception_survives_the_way_through_a_queue(kind: type[Exception]) -> None:
    # Queues pickle what a task raised.
    copy = pickle.loads(pickle.dumps(kind("Choose a shorter period.")))  # noqa: S301 (our own)
    assert type(copy) is kind
    assert str(copy) == "Choose a shorter period."


def test_a_cancelled_run_is_not_taken_for_a_failure() -> None:
    assert not issubclass(DownloadCancelled, DownloadError)
    assert not issubclass(DownloadError, DownloadCancelled)
    # A site's own "except Exception" around a step must be able to let it end.
    assert issubclass(DownloadCancelled, Exception)
