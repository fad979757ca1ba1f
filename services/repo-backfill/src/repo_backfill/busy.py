"""It is not a job's turn: nothing failed, and it comes again."""

from __future__ import annotations

from headwater.errors import TransientError


class BusyError(TransientError):
    """Something that is shared is taken. No failed try: the job comes again after ``retry_after``."""
