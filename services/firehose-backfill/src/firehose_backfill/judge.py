"""From a frame and its account's key to the event that goes on the bus."""

from __future__ import annotations

import logging
from typing import Final

from firehose_backfill import metrics
from firehose_backfill.letters import Letters
from firehose_backfill.selection import Selection
from firehose_backfill.verify import verify_commit, verify_sync
from headwater.bus.messages import LiveAccount, LiveBroken, LiveCommit, LiveSync
from headwater.clock import now_us
from headwater.errors import InvalidInputError, Reason
from headwater.frames import AccountFrame, CommitFrame, SyncFrame
from headwater.keys import PublicKey

log = logging.getLogger("firehose_backfill.judge")

_LEGACY: Final = metrics.COMMITS.labels("legacy")
_PROVEN: Final = metrics.COMMITS.labels("proven")


class Judge:
    """Verifies, and tells refusals. ``max_row_bytes`` is what one record may take on the bus."""

    def __init__(self, selection: Selection, letters: Letters, max_row_bytes: int) -> None:
        self._selection = selection
        self._letters = letters
        self._max_row_bytes = max_row_bytes

    def verified(self, frame: CommitFrame | SyncFrame, at_us: int, key: PublicKey) -> LiveCommit | LiveSync:
        """The event of a frame whose claims hold. Raises InvalidInputError as ``firehose_backfill.verify`` does.

        What else comes up is a mistake of ours that one account's bytes bring out; it is logged, and the account
        refused as INTERNAL, since all others have to go on.
        """
        try:
            if isinstance(frame, CommitFrame):
                return self._commit(frame, at_us, key)
            sync = verify_sync(frame, key, now_us())
        except InvalidInputError:
            raise
        except Exception as error:
            log.exception("a mistake of ours, brought out by %s of %s", type(frame).__name__, frame.did)
            raise InvalidInputError(Reason.INTERNAL, type(error).__name__) from error
        return LiveSync(did=sync.did, rev=sync.rev, data=sync.data, seq=sync.seq, at_us=at_us)

    def _commit(self, frame: CommitFrame, at_us: int, key: PublicKey) -> LiveCommit:
        verified = verify_commit(frame, key, now_us(), self._max_row_bytes, self._selection.wants, at_us)
        for record in verified.refused:
            metrics.RECORDS_REJECTED.labels(record.reason.value).inc()
            self._letters.record(frame.did, frame.rev, record)
        (_LEGACY if verified.legacy else _PROVEN).inc()
        return verified.commit

    def broken(self, relay: str, frame: CommitFrame | SyncFrame, at_us: int, error: InvalidInputError) -> LiveBroken:
        """What is told of a frame that was refused: its repo may have changed in a way that nobody saw."""
        metrics.REFUSED.labels(error.reason.value).inc()
        self._letters.frame(relay, frame.blocks, error, frame.did, frame.rev)
        log.info("refused seq %d of %s: %s", frame.seq, frame.did, error)
        return LiveBroken(did=frame.did, seq=frame.seq, at_us=at_us, rev=frame.rev, reason=error.reason.value)

    @staticmethod
    def account(frame: AccountFrame, at_us: int) -> LiveAccount:
        """The event of a status that an account now has."""
        return LiveAccount(did=frame.did, seq=frame.seq, at_us=at_us, active=frame.active, status=frame.status)
