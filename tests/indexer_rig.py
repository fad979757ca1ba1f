"""What the indexer's tests are made of: messages of small repos, a migrated database, and the service as a process."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import httpx

from headwater.bus.messages import BackfillMessage, Keys, LiveCommit, Outcome, Rows, SnapshotBatch, SnapshotEnd
from headwater_local.ports import take_port
from indexer.database import connect
from indexer.migrate import migrate
from indexer.snapshots import Group, Result, write_snapshots
from waiting import until

Key = tuple[str, str]
LIKE, POST, OTHER = "app.bsky.feed.like", "app.bsky.feed.post", "com.example.thing"
DID = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"


def rev(number: int) -> str:
    """Revs in order."""
    return f"3k{number:011d}"


def rows(values: Mapping[Key, int]) -> Rows:
    """Records whose CID and JSON tell their value."""
    keys = sorted(values)
    return Rows(
        collection=[collection for collection, _ in keys],
        rkey=[rkey for _, rkey in keys],
        cid=[f"cid{values[key]}" for key in keys],
        created_at=[values[key] * 1_000_000 for key in keys],
        subject=[None] * len(keys),
        record=[f'{{"value":{values[key]}}}' for key in keys],
    )


def keys(*wanted: Key) -> Keys:
    """Keys as columns."""
    return Keys(collection=[collection for collection, _ in wanted], rkey=[rkey for _, rkey in wanted])


def commit(
    number: int, put: Mapping[Key, int] | None = None, delete: tuple[Key, ...] = (), did: str = DID
) -> LiveCommit:
    """A live commit at ``rev(number)``."""
    return LiveCommit(did=did, rev=rev(number), data="", seq=number, put=rows(put or {}), delete=keys(*delete))


def batch(
    number: int,
    put: Mapping[Key, int],
    *,
    job: str = "job",
    attempt: int = 1,
    index: int = 0,
    epoch: int = 0,
    held: Mapping[Key, int] | None = None,
    beyond: tuple[Key, ...] = (),
    whole: bool = True,
    did: str = DID,
) -> SnapshotBatch:
    """A batch of a snapshot at ``rev(number)``."""
    return SnapshotBatch(
        did=did,
        rev=rev(number),
        job=job,
        attempt=attempt,
        epoch=epoch,
        whole=whole,
        batch=index,
        put=rows(put),
        held=rows(held or {}),
        keys=keys(*beyond),
    )


def end(
    number: int,
    *,
    batches: int,
    records: int,
    job: str = "job",
    attempt: int = 1,
    epoch: int = 0,
    outcome: Outcome = Outcome.COMPLETE,
    whole: bool = True,
    days: int = 0,
    reason: str | None = None,
    did: str = DID,
) -> SnapshotEnd:
    """The end of a snapshot at ``rev(number)``."""
    return SnapshotEnd(
        did=did,
        job=job,
        attempt=attempt,
        epoch=epoch,
        lane="user",
        outcome=outcome,
        rev=rev(number),
        data="bafyroot",
        whole=whole,
        days=days,
        cutoff_us=None if whole else 0,
        batches=batches,
        records=records,
        reason=reason,
    )


def snapshot(number: int, values: Mapping[Key, int], job: str = "job", did: str = DID) -> list[BackfillMessage]:
    """A whole snapshot in one batch."""
    return [batch(number, values, job=job, did=did), end(number, batches=1, records=len(values), job=job, did=did)]


@asynccontextmanager
async def migrated(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A writer's connection to a migrated database."""
    connection = await connect(database_url, "test", writes=True)
    try:
        await migrate(connection)
        yield connection
    finally:
        await connection.close()


@contextmanager
def migrated_database(postgres_dsn: str, name: str) -> Iterator[str]:
    """A migrated database that a module's tests share; each empties it with ``emptied``. Yields its URL."""
    url = urlunsplit(urlsplit(postgres_dsn)._replace(path=f"/{name}"))

    async def execute(statement: str) -> None:
        connection = await asyncpg.connect(postgres_dsn)
        await connection.execute(statement)
        await connection.close()

    async def prepare() -> None:
        await execute(f"CREATE DATABASE {name}")
        async with migrated(url):
            pass

    asyncio.run(prepare())
    yield url
    asyncio.run(execute(f"DROP DATABASE {name} WITH (FORCE)"))


@asynccontextmanager
async def emptied(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A writer's connection to a migrated database without a row."""
    connection = await connect(url, "test", writes=True)
    tables = "record, repo, tombstone, backfill_job, snapshot_batch, deferred_commit"
    try:
        await connection.execute(f"TRUNCATE {tables}")
        yield connection
    finally:
        await connection.close()


async def write(connection: asyncpg.Connection, *messages: BackfillMessage) -> Result:
    """One transaction."""
    return await write_snapshots(connection, Group(messages))


def state_of(result: Result, job: str = "job") -> str:
    """What a job is by then."""
    return next(told.state for told in result.told if told.job_id == job)


async def stored(connection: asyncpg.Connection, did: str = DID) -> dict[Key, int]:
    """What the table holds of a repo."""
    found = await connection.fetch("SELECT collection, rkey, record ->> 'value' AS v FROM record WHERE did = $1", did)
    return {(row["collection"], row["rkey"]): int(row["v"]) for row in found}


class IndexerProcess:
    """The service in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.port = port

    async def conditions(self) -> tuple[bool, dict[str, str]]:
        """Whether it is ready, and its conditions; none while it does not answer."""
        try:
            async with httpx.AsyncClient() as http:
                answer = (await http.get(f"http://127.0.0.1:{self.port}/readyz", timeout=2)).json()
        except httpx.HTTPError:
            return False, {}
        return answer["ready"], answer["conditions"]

    async def until_ready(self) -> None:
        """Wait until it can work."""
        await until(self._is_ready)

    async def _is_ready(self) -> bool:
        return (await self.conditions())[0]

    async def metrics(self) -> str:
        """Its metrics."""
        async with httpx.AsyncClient(follow_redirects=True, timeout=60) as http:
            return (await http.get(f"http://127.0.0.1:{self.port}/metrics")).text


@asynccontextmanager
async def running_indexer(
    nats_url: str, database_url: str, directory: Path, *, worker_id: int = 0, worker_count: int = 1
) -> AsyncIterator[IndexerProcess]:
    """An indexer worker for the length of the block. Killed at its end if it is still there."""
    port = take_port()
    settings = {
        "NATS_URL": nats_url,
        "DATABASE_URL": database_url,
        "HEALTH_PORT": str(port),
        "WORKER_ID": str(worker_id),
        "WORKER_COUNT": str(worker_count),
    }
    with (directory / f"indexer-{port}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "indexer", env=os.environ | settings, cwd=directory, stdout=log, stderr=log
        )
    try:
        yield IndexerProcess(process, port)
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 60)
            except TimeoutError:
                process.kill()
                await process.wait()
