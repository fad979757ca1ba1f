"""The low-watermark against a model that looks at everything; an account's order under completions at random."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from firehose_backfill.cursor import LowWatermark
from firehose_backfill.gaps import Place
from firehose_backfill.outbox import Outbox
from firehose_backfill.pipeline import Pipeline
from headwater.bus.messages import LiveAccount, LiveSync, decode_live
from headwater.bus.subjects import live_subject, partition
from headwater.frames import SyncFrame


@given(st.data(), st.lists(st.integers(0, 30), max_size=30))
def test_it_is_the_newest_seq_before_which_none_is_missing(data: st.DataObject, seqs: Sequence[int]) -> None:
    watermark, begun, done = LowWatermark(), [], set[int]()
    coming = list(seqs)
    while coming or len(done) < len(begun):
        open_marks = [index for index in range(len(begun)) if index not in done]
        if coming and (not open_marks or data.draw(st.booleans())):
            seq = coming.pop(0)
            begun.append(watermark.begin(seq, seq * 10))
        else:
            chosen = data.draw(st.sampled_from(open_marks))
            done.add(chosen)
            watermark.done(begun[chosen])
        # Naively: all that arrived before the first one that is not done.
        safe = [mark.seq for index, mark in enumerate(begun) if all(before in done for before in range(index + 1))]
        assert watermark.seq == max(safe, default=None)
        assert watermark.at_us == (None if watermark.seq is None else watermark.seq * 10)
        assert len(watermark) == len(begun) - len(safe)


class _Bus:
    """Takes batches after waits that the test drew."""

    max_payload = 1_000_000

    def __init__(self, waits: Sequence[int]) -> None:
        self._waits = list(waits)
        self.seen: list[LiveAccount] = []

    async def publish(self, subject: str, payload: bytes, message_id: str) -> None:
        for _ in range(self._waits.pop() if self._waits else 0):
            await asyncio.sleep(0)
        events = decode_live(payload).events
        assert {live_subject(event.did) for event in events} == {subject}
        self.seen += [event for event in events if isinstance(event, LiveAccount)]


@given(st.lists(st.integers(0, 5), max_size=40), st.lists(st.integers(0, 9), max_size=40))
def test_an_accounts_events_stay_in_order(whose: Sequence[int], waits: Sequence[int]) -> None:
    bus = _Bus(waits)

    async def run() -> list[int]:
        safe: list[int] = []
        async with asyncio.TaskGroup() as group:

            def start(work: Any, name: str) -> None:
                group.create_task(work, name=name)

            box = Outbox(bus, start, "relay", live_subject)  # type: ignore[arg-type]
            for seq, who in enumerate(whose):
                event = LiveAccount(did=f"did:plc:{who}", seq=seq, active=True)
                box.add(event, 10, lambda seq=seq: safe.append(seq))  # type: ignore[misc]
                if seq % 7 == 0:
                    await asyncio.sleep(0.006)
        return safe

    safe = asyncio.run(run())
    assert sorted(safe) == list(range(len(whose)))
    for lane in {partition(f"did:plc:{who}") for who in whose}:
        seqs = [event.seq for event in bus.seen if partition(event.did) == lane]
        assert seqs == sorted(set(seqs))


class _Keys:
    """Has no key at hand, and looks each one up for as long as the test drew."""

    def __init__(self, waits: Sequence[int]) -> None:
        self._waits = list(waits)

    def known(self, did: str) -> bytes | None:
        return b"key" if self._next() > 2 else None

    async def key(self, did: str) -> bytes:
        for _ in range(self._next()):
            await asyncio.sleep(0)
        return b"key"

    def _next(self) -> int:
        return self._waits.pop() if self._waits else 0


class _Judge:
    """Finds everything in order."""

    def verified(self, frame: SyncFrame, at_us: int, key: bytes) -> LiveSync:
        return LiveSync(did=frame.did, rev=frame.rev, data="", seq=frame.seq, at_us=at_us)


class _Order(_Bus):
    async def publish(self, subject: str, payload: bytes, message_id: str) -> None:
        for _ in range(self._waits.pop() if self._waits else 0):
            await asyncio.sleep(0)
        self.order += [(event.did, event.seq) for event in decode_live(payload).events]

    def __init__(self, waits: Sequence[int]) -> None:
        super().__init__(waits)
        self.order: list[tuple[str, int]] = []


@given(st.lists(st.integers(0, 4), max_size=40), st.lists(st.integers(0, 9)), st.lists(st.integers(0, 9)))
def test_an_accounts_events_stay_in_order_while_keys_are_looked_up(
    whose: Sequence[int], lookups: Sequence[int], waits: Sequence[int]
) -> None:
    bus = _Order(waits)

    async def run() -> Pipeline:
        keys, judge = _Keys(lookups), _Judge()
        async with Pipeline(judge, keys, bus, "relay", live_subject, 1_000) as pipeline:  # type: ignore[arg-type]
            for seq, who in enumerate(whose):
                frame = SyncFrame(seq, f"did:plc:{who}", "", str(seq), b"")
                await pipeline.room()
                pipeline.take(frame, Place(seq, seq), 100)
                assert pipeline.bytes <= 1_100
                if seq % 5 == 0:
                    await asyncio.sleep(0)
            await pipeline.drain()
        return pipeline

    pipeline = asyncio.run(run())
    assert (pipeline.bytes, pipeline.watermark.seq) == (0, len(whose) - 1 if whose else None)
    for who in set(whose):
        assert [seq for did, seq in bus.order if did == f"did:plc:{who}"] == [
            seq for seq, one in enumerate(whose) if one == who
        ]
