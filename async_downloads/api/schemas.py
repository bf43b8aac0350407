"""The types of the JSON. The OpenAPI description is made of them, their notes included."""

from typing import Annotated, Literal, NamedTuple, NotRequired, TypedDict

__all__ = ["DownloadData", "DownloadListData", "Note", "ProblemData"]


class Note(NamedTuple):
    """What a key means.

    Attributes:
        text: One or two sentences.
        format: The format of a text, in the words of JSON Schema; empty for any text.
    """

    text: str
    format: str = ""


class DownloadData(TypedDict):
    """One download. Later versions may add keys."""

    download_key: Annotated[str, Note("The key.", "uuid")]
    user: Annotated[str, Note("The user name of the owner; of a team's download, its label.")]
    name: Annotated[str, Note("The name in the list.")]
    timestamp: Annotated[str, Note("When it was requested.", "date-time")]
    filepath: Annotated[str, Note("The path in the storage.")]
    url: Annotated[str, Note("The URL of the file; empty until it is complete.")]
    state: Annotated[
        Literal["pending", "running", "complete", "failed"],
        Note("pending, running, complete or failed. One that has stalled is pending or running."),
    ]
    percentage: Annotated[int, Note("The progress, 0 to 100.")]
    complete: Annotated[bool, Note("Whether the file is there.")]
    errors: Annotated[str, Note("The reason of a failure as recorded; empty if there is none.")]
    css_class: Annotated[str | None, Note("The value of CSS_CLASS.")]
    stamp: Annotated[str, Note("The last heartbeat.", "date-time")]
    team: Annotated[
        str, Note("The name of the team that shares it with the reader; empty for their own.")
    ]
    short_name: Annotated[str, Note("The name without the date of the request.")]
    filename: Annotated[str, Note("The name that a browser saves the file under.")]
    file_type: Annotated[str, Note("The type of the file in short, such as CSV; may be empty.")]
    in_progress: Annotated[bool, Note("Whether it is pending or running, and has not stalled.")]
    stalled: Annotated[
        bool, Note("Whether it is pending or running, and no heartbeat has come for too long.")
    ]
    failed: Annotated[bool, Note("Whether the last attempt has ended without a file.")]
    truncated: Annotated[
        bool, Note("Whether the file has fewer rows than there were at the start.")
    ]
    status_text: Annotated[str, Note("The state in words, in the language of the reader.")]
    error_text: Annotated[
        str, Note("The reason of a failure, in the language of the reader; empty if none.")
    ]
    size: Annotated[int | None, Note("Bytes of the file. Null until it is complete.")]
    rows_written: Annotated[int | None, Note("Rows so far, without the header. Null if unknown.")]
    rows_expected: Annotated[int | None, Note("Rows counted at the start. Null if unknown.")]
    rows_text: Annotated[str, Note("The rows in words; empty if the percentage says it better.")]
    ahead: Annotated[
        int | None,
        Note(
            "How many downloads of all people were queued before this one and wait, too: 100 means "
            "that there may be more. Null unless it waits for a worker."
        ),
    ]
    ahead_text: Annotated[str, Note("The same in words; empty if none are.")]
    seconds_left: Annotated[
        int | None,
        Note(
            "How long a worker may still need, in tens of seconds. Null unless it is being built, "
            "and at a rate that is steady enough to say so."
        ),
    ]
    time_left: Annotated[str, Note("The same in words; empty if that is not known.")]
    started_at: Annotated[
        str | None, Note("When a worker began. Null if none has begun.", "date-time")
    ]
    finished_at: Annotated[
        str | None, Note("When it was complete or had failed. Null before that.", "date-time")
    ]
    expires_at: Annotated[
        str | None, Note("When it is removed. Null for never, and until it ends.", "date-time")
    ]
    until_text: Annotated[
        str,
        Note(
            "The same in words, such as until Tuesday, in the language of the reader; empty if it "
            "is not complete or not removed."
        ),
    ]
    held: Annotated[bool, Note("Whether staff keep it, so that it is neither removed nor cleared.")]
    unseen: Annotated[
        bool, Note("Whether it has ended, and the person has not looked at the list since.")
    ]
    fetch_count: Annotated[int, Note("How often the file was fetched.")]
    can_retry: Annotated[
        bool,
        Note("Whether retry_url builds it again: a new download if this one is complete."),
    ]
    detail_url: Annotated[str, Note("The URL of this object. GET.")]
    can_clear: Annotated[
        bool,
        Note("Whether clear_url clears it: not if a team only shares it, nor if it is held."),
    ]
    clear_url: Annotated[
        str,
        Note("Clears the download, and cancels one in progress. POST. Empty unless can_clear."),
    ]
    retry_url: Annotated[str, Note("Builds it again. POST. Empty unless can_retry.")]
    can_keep: Annotated[bool, Note("Whether keep_url keeps it for longer.")]
    keep_url: Annotated[str, Note("Keeps it for longer. POST. Empty unless can_keep.")]


class DownloadListData(TypedDict):
    """The downloads of the reader and their teams, newest first, or one page of them."""

    html: NotRequired[
        Annotated[str, Note("The markup of the list: the 20 newest of this page, as in the menu.")]
    ]
    downloads: Annotated[list[DownloadData], Note("The downloads of this page.")]
    total: Annotated[int, Note("How many there are in all.")]
    page: Annotated[int, Note("The number of this page, from 1.")]
    limit: Annotated[int, Note("How many a page has at most.")]
    in_progress: Annotated[bool, Note("Whether anything is in progress, among all of them.")]
    running: Annotated[int, Note("How many are in progress, among all of them.")]
    percentage: Annotated[int, Note("The mean progress of those on this page.")]
    poll_seconds: Annotated[
        int | None,
        Note("After how many seconds to look again. Null if nothing changes by itself."),
    ]
    clear_finished_url: Annotated[
        str, Note("Clears all that are complete or have failed, those of teams aside. POST.")
    ]


class ProblemData(TypedDict):
    """Why a request was refused, by RFC 9457."""

    status: Annotated[int, Note("The status of the response.")]
    title: Annotated[str, Note("The status in words.")]
    detail: Annotated[str, Note("The reason, in the language of the reader; may be empty.")]
