"""How long rows of the past wait for others to share their transaction."""

from __future__ import annotations

import pytest

from headwater.bus.messages import Outcome, SnapshotBatch, SnapshotEnd
from indexer.backfill_lane import is_awaited
from indexer.linger import ENOUGH_ROWS, MOST_MOMENTS, Waiting, linger


class Arrivals:
    """What waits, moment by moment; the last stays."""

    def __init__(self, *waiting: Waiting) -> None:
        self._waiting = waiting
        self.moments = 0

    def look(self) -> Waiting:
        return self._waiting[min(self.moments, len(self._waiting) - 1)]

    async def sleep(self, _: float) -> None:
        self.moments += 1


def few(messages: int, *, hastens: bool = False) -> Waiting:
    return Waiting(messages, messages, hastens)


@pytest.mark.parametrize(
    ("arrivals", "moments"),
    [
        ([few(1)], 1),
        ([few(1), few(3), few(3)], 2),
        ([few(count) for count in range(1, 20)], MOST_MOMENTS),
        ([few(1), Waiting(2, ENOUGH_ROWS, hastens=False), few(3)], 1),
        ([Waiting(1, ENOUGH_ROWS, hastens=False)], 0),
        ([few(1, hastens=True)], 0),
        ([few(1), few(2, hastens=True), few(3)], 1),
    ],
    ids=["alone", "one more", "ever more", "enough", "enough at once", "hastened", "hastened later"],
)
async def test_it_waits_while_others_come(arrivals: list[Waiting], moments: int):
    course = Arrivals(*arrivals)
    await linger(course.look, course.sleep)
    assert course.moments == moments


def test_only_the_end_of_many_messages_hastens():
    def end(batches: int) -> SnapshotEnd:
        return SnapshotEnd(
            did="did:plc:a", job="1", attempt=1, epoch=0, lane="user", outcome=Outcome.COMPLETE, batches=batches
        )

    batch = SnapshotBatch(did="did:plc:a", rev="3", job="1", attempt=1, epoch=0, whole=True, batch=0)
    assert [is_awaited(message) for message in (batch, end(0), end(1), end(2))] == [False, False, False, True]
