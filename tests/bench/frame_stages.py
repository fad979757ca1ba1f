"""What firehose-backfill does with a frame, part by part, in one process on one core: what each check costs.

`python -m bench.frame_stages` measures this alone and prints it.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import nats
from nats.js import JetStreamContext

from bench.firehose_report import frames_section
from bench.results import FrameStages
from bench.stages import Stopwatch, scratch_stream
from firehose_backfill.inversion import leads_back
from firehose_backfill.rows import commit_rows
from firehose_backfill.verify import verify_commit
from headwater.blocks import FrameBlocks
from headwater.bus.messages import LiveBatch, LiveCommit, encode
from headwater.bus.publish import Publisher
from headwater.clock import now_us
from headwater.commit import check_commit, parse_commit, verify_signature
from headwater.frame_car import read_frame_car
from headwater.frame_reader import parse_frame, peek_repo
from headwater.frames import CommitFrame
from headwater.keys import PublicKey, parse_multikey
from servers import running_nats
from simulator.load_frames import LoadFile, load_file

_MAX_ROW_BYTES = 1_000_000
_EVENTS_IN_A_BATCH = 100

T = TypeVar("T")


@dataclass(frozen=True)
class Frames:
    """Messages as they came from the relay, and the keys of their accounts by DID."""

    messages: list[bytes]
    keys: dict[str, PublicKey]

    @classmethod
    def read(cls, load: LoadFile, count: int) -> Frames:
        """The first frames of a load."""
        keys = {one["did"]: parse_multikey(one["multibase"]) for one in load.accounts}
        return cls([load.message(place) for place in range(count)], keys)


async def measure_frames(load: LoadFile, count: int, rounds: int, nats_url: str) -> FrameStages:
    """Take frames through all stages one after the other, and through the whole at once, ``rounds`` times."""
    frames = Frames.read(load, count)
    measured = FrameStages(count, sum(map(len, frames.messages)))
    client = await nats.connect(nats_url)
    try:
        for _ in range(rounds):
            watch = Stopwatch({})
            async with scratch_stream(client.jetstream()) as js:
                await _published(watch, js, client.max_payload, _checked(watch, frames))
            for name, seconds in watch.seconds.items():
                measured.stages.setdefault(name, []).append(seconds)
            async with scratch_stream(client.jetstream()) as js:
                await _whole(measured, frames, js, client.max_payload)
    finally:
        await client.close()
    return measured


def _checked(watch: Stopwatch, frames: Frames) -> list[LiveCommit]:
    """Every check by itself, over all frames; then the verdict as the service gives it, which is no stage."""
    at_us = now_us()
    with watch.stage("whose it is, without decoding"):
        for message in frames.messages:
            peek_repo(message)
    with watch.stage("decoded, fields and limits checked"):
        parsed = [_commit(message) for message in frames.messages]
    with watch.stage("blocks read, each hashed"):
        cars = [read_frame_car(frame.blocks) for frame in parsed]
        stores = [FrameBlocks(blocks) for _, blocks in cars]
    with watch.stage("commit read, DID and rev checked"):
        commits = [parse_commit(blocks.get(root)) for blocks, (root, _) in zip(stores, cars, strict=True)]
        for commit, frame in zip(commits, parsed, strict=True):
            check_commit(commit, frame.did, at_us)
    with watch.stage("signature"):
        for commit, frame in zip(commits, parsed, strict=True):
            verify_signature(commit, frames.keys[frame.did])
    with watch.stage("operations undone on the tree"):
        for commit, frame, blocks in zip(commits, parsed, stores, strict=True):
            assert leads_back(blocks, commit.data, frame.ops, frame.prev_data or b"")
    with watch.stage("records to JSON"):
        for frame, blocks in zip(parsed, stores, strict=True):
            commit_rows(blocks, frame.ops, at_us, _MAX_ROW_BYTES)
    return [verify_commit(frame, frames.keys[frame.did], at_us, _MAX_ROW_BYTES).commit for frame in parsed]


async def _published(watch: Stopwatch, js: JetStreamContext, max_payload: int, commits: list[LiveCommit]) -> None:
    with watch.stage("batches encoded"):
        payloads = [encode(LiveBatch(relay="bench", events=[*batch])) for batch in _batches(commits)]
    with watch.stage("batches published and acknowledged"):
        async with Publisher(js, max_payload).stream() as out:
            for number, payload in enumerate(payloads):
                await out.send("bench.records", payload, f"bench/{number}")


async def _whole(measured: FrameStages, frames: Frames, js: JetStreamContext, max_payload: int) -> None:
    """From the messages to the last PubAck, each frame taken through everything before the next."""
    began, cpu_began, at_us = time.perf_counter(), time.process_time(), now_us()
    async with Publisher(js, max_payload).stream() as out:
        for number, messages in enumerate(_batches(frames.messages)):
            events = [_verified(message, frames, at_us) for message in messages]
            await out.send("bench.records", encode(LiveBatch(relay="bench", events=[*events])), f"whole/{number}")
    measured.whole.append(time.perf_counter() - began)
    measured.cpu.append(time.process_time() - cpu_began)


def _verified(message: bytes, frames: Frames, at_us: int) -> LiveCommit:
    frame = _commit(message)
    return verify_commit(frame, frames.keys[frame.did], at_us, _MAX_ROW_BYTES).commit


def _commit(message: bytes) -> CommitFrame:
    frame = parse_frame(message)
    assert isinstance(frame, CommitFrame)
    return frame


def _batches(items: list[T]) -> Iterator[list[T]]:
    return (items[start : start + _EVENTS_IN_A_BATCH] for start in range(0, len(items), _EVENTS_IN_A_BATCH))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.frame_stages", description=__doc__)
    parser.add_argument("--frames", type=int, default=20_000, help="number of frames (default: 20000)")
    parser.add_argument("--rounds", type=int, default=3, help="how often (default: 3)")
    parser.add_argument("--cache", type=Path, required=True, help="where the frames are kept")
    arguments = parser.parse_args()
    load = load_file(arguments.cache, frames=arguments.frames, accounts=500)
    with running_nats("embedded") as url:
        print(frames_section(asyncio.run(measure_frames(load, arguments.frames, arguments.rounds, url))))


if __name__ == "__main__":
    main()
