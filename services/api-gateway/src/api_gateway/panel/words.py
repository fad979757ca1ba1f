"""What went wrong, in words for people who have never heard of a repo, and what they can do; pure.

``REASONS`` says it of every reason that a job can fail with, ``PROBLEMS`` of what the gateway itself refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from headwater.bus.jobs import JobState
from headwater.errors import Reason


@dataclass(frozen=True, slots=True)
class Words:
    """``what`` happened, as a sentence, and ``advice``: what to do now."""

    what: str
    advice: str


_DAMAGED = Words(
    "Your account's host sent data that is damaged or incomplete, so none of it was taken.",
    "Try again in a while. If it stays like this, tell whoever runs your host (PDS): its export does not verify.",
)
_FORGED = Words(
    "The data that your account's host sent is not signed by your account, so none of it was taken.",
    "If you have moved your account lately, wait an hour and try again. Otherwise tell whoever runs your host.",
)
_IDENTITY = Words(
    "Your account's identity could not be read.",
    "Check that your handle works in your app. If you have changed it today, try again in an hour.",
)
_RECORD = Words("One of your records is malformed.", "Nothing to do: the others are taken without it.")
_OURS = Words(
    "Something went wrong on our side.", "Try again. If it happens again, tell whoever runs this site the job's id."
)
_FIREHOSE = Words("A live update of your account was malformed.", "Start a backfill: it brings what is missing.")
_LARGE = Words("Your data is larger than this site takes.", "Ask whoever runs this site to raise the limit.")

_GROUPS: Final[Mapping[Words, tuple[Reason, ...]]] = {
    _DAMAGED: (
        Reason.CAR_HEADER,
        Reason.CAR_TRUNCATED,
        Reason.CAR_SECTION,
        Reason.BLOCK_HASH,
        Reason.BLOCK_MISSING,
        Reason.CID_UNSUPPORTED,
        Reason.COMMIT_MALFORMED,
        Reason.COMMIT_REV,
        Reason.MST_MALFORMED,
        Reason.MST_ORDER,
        Reason.MST_LAYER,
        Reason.MST_KEY,
        Reason.MST_INCOMPLETE,
        Reason.RESPONSE_MALFORMED,
        Reason.SYNTAX,
    ),
    _FORGED: (Reason.COMMIT_DID, Reason.BAD_SIGNATURE, Reason.NO_KEY),
    _IDENTITY: (Reason.UNRESOLVABLE, Reason.HANDLE_MISMATCH, Reason.NO_PDS),
    _LARGE: (Reason.CAR_TOO_LARGE, Reason.BLOCK_TOO_LARGE),
    _RECORD: tuple(reason for reason in Reason if reason.value.startswith("record_")),
    _FIREHOSE: (
        Reason.FRAME_MALFORMED,
        Reason.FRAME_TOO_LARGE,
        Reason.FRAME_FIELD,
        Reason.FRAME_OP,
        Reason.COMMIT_TOO_BIG,
        Reason.COMMIT_CID,
        Reason.COMMIT_OPS,
        Reason.COMMIT_PREV_DATA,
    ),
    _OURS: (Reason.MESSAGE_MALFORMED, Reason.INTERNAL),
}

REASONS: Final[Mapping[Reason, Words]] = {reason: words for words, group in _GROUPS.items() for reason in group} | {
    Reason.HOST_FORBIDDEN: Words(
        "Your account's host is at an address that this site may not connect to.",
        "Hosts need a public address and https. Ask whoever runs your host.",
    ),
    Reason.NOT_FOUND: Words(
        "Your account's host does not know your account.",
        "If you have just moved, try again in an hour. Otherwise check with your app that the account is there.",
    ),
    Reason.DEACTIVATED: Words(
        "Your account is deactivated, so its host gives no data out.",
        "Activate the account in your app, then start again.",
    ),
    Reason.SUSPENDED: Words("Your account is suspended by its host.", "Ask your host about it, then start again."),
    Reason.TAKEN_DOWN: Words(
        "Your account was taken down by its host.", "Ask your host about it; while it is down nothing can be fetched."
    ),
    Reason.ACCOUNT_DELETED: Words(
        "Your data here was deleted, or your account itself is.",
        "To have your data here again, allow indexing under Privacy, then start.",
    ),
    Reason.UNREACHABLE: Words(
        "Your account's host did not answer, however often it was asked.",
        "See whether your app works. When it does, start again.",
    ),
    Reason.REFUSED_BY_HOST: Words(
        "Your account's host refused to give the data out.", "Try again later, or ask whoever runs your host."
    ),
    Reason.OPTED_OUT: Words("You have asked not to be indexed.", "Allow indexing again under Privacy, then start."),
}
"""The words for each reason. A test holds them to the enum: whoever adds a reason says it here too."""

_AGAIN = "Log in again."

PROBLEMS: Final[Mapping[str, Words]] = {
    "cooldown": Words("You have had a backfill not long ago.", "Your data is up to date; a new one can start soon."),
    "job_running": Words("A backfill of yours is running already.", "Here it is."),
    "job_ended": Words("This backfill has ended already.", "There is nothing left to cancel."),
    "no_such_job": Words("You have no such backfill.", "Your backfills are listed below."),
    "invalid_input": Words("That is not a number of days.", "Choose one of the spans, or enter 1 to 3650 days."),
    "not_a_collection": Words("A collection is a name such as app.bsky.feed.post.", "Choose one of those you have."),
    "no_such_page": Words("This page of records does not exist.", "Begin with the newest."),
    "cross_site": Words("Another site sent this request.", "If it was you, press the button here once more."),
    "unavailable": Words(
        "Something that is needed does not answer just now.", "Nothing was begun. Try again in a minute."
    ),
    "no_credentials": Words("You are not logged in, or not any more.", _AGAIN),
    "too_many_backfills": Words("There were many backfills in a short time.", "A new one can start soon."),
    "too_many_logins": Words("There were many logins in a short time.", "Wait a minute, then try again."),
    "too_many_followers": Words("This page is open very often.", "Close some of its tabs."),
    "no_oauth": Words("This host offers no login that this site can use.", "Check the address, or use your handle."),
    "login_refused": Words("Your account's host did not accept the login.", _AGAIN),
    "issuer_mismatch": Words(
        "The answer did not come from the host that is in charge of your account. You are not logged in.",
        "If you did not follow a strange link, log in again.",
    ),
    "account_mismatch": Words(
        "You logged in with another account than the one you named.", "Log in again, and choose that account there."
    ),
    "consent_denied": Words("You did not allow the login. Nothing was done.", "You can log in whenever you like."),
    "login_expired": Words("This login has expired, or was never begun here.", _AGAIN),
    "login_used": Words("This login was used before; each is good for one time.", _AGAIN),
    "login_malformed": Words("Your account's host sent an incomplete answer.", _AGAIN),
    "other_browser": Words("This login was begun in another browser. You are not logged in here.", _AGAIN),
    "deletion_running": Words("Rows of yours are still being deleted.", "Try again in a moment."),
    "too_many_excluded": Words("You keep very many collections out.", "Let one in again first, or opt out of all."),
    "not_confirmed": Words("Nothing was deleted: that is neither your handle nor your DID.", "Type it once more."),
    "not_found": Words("There is no such page.", "Go back to your data."),
    "syntax": Words(
        "That is neither a handle nor a DID nor the address of a host.", "A handle looks like alice.bsky.social."
    ),
    "internal_error": _OURS,
}
"""The words for what the gateway refuses; the rest is said by `REASONS`."""

STATES: Final[Mapping[JobState, str]] = {
    JobState.QUEUED: "Waiting for its turn",
    JobState.RESOLVING: "Looking up your account",
    JobState.FETCHING: "Fetching your data",
    JobState.INDEXING: "Writing your data",
    JobState.DONE: "Done",
    JobState.FAILED: "Failed",
    JobState.CANCELLED: "Cancelled",
}


def words_of(reason: str, detail: str = "") -> Words:
    """The words for a problem's or a job's reason; the bare detail where there are none."""
    if reason in PROBLEMS:
        return PROBLEMS[reason]
    known = next((one for one in Reason if one.value == reason), None)
    return Words(detail or reason, "") if known is None else REASONS[known]
