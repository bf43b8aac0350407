"""The reasons of failures, without the advice to request the file again.

A row records the whole text. Where "Try again" is beside it, the advice would mislead: to
request the file again means to start over.
"""

from typing import Final

from django.utils.translation import gettext_noop

__all__ = ["without_advice"]

#: The advice at the end of a reason.
ADVICE: Final = (" Please request it again.", " Please request it again later.")

#: The reasons that end with it in a row.
REASONS: Final = frozenset(
    {
        gettext_noop("Something went wrong while creating the file."),
        gettext_noop("It took too long, or was stopped."),
        gettext_noop("The task ended without a file."),
        gettext_noop("It stopped responding."),
        gettext_noop("It was not started in time."),
        gettext_noop("The download could not be queued."),
        gettext_noop("The file is missing."),
    }
)


def without_advice(errors: str) -> str:
    """Return a reason without the advice to request the file again.

    A text of the site, such as that of a ``DownloadError``, stays as it is.
    """
    for advice in ADVICE:
        reason = errors.removesuffix(advice)
        if reason != errors and reason in REASONS:
            return reason
    return errors
