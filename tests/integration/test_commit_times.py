"""The benchmark's times of commits: each key's own, whatever order Postgres finds the rows in."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import pytest

from bench.commit_times import commit_times
from headwater_local.ports import take_port
from headwater_local.postgres import EmbeddedPostgres
from headwater_local.program import started
from servers import scratch_directory

ROWS = 5_000
EVERY = 100


@pytest.fixture
async def database() -> AsyncIterator[asyncpg.Connection]:
    """A server of its own: remembering commits needs a start, which the others' server must not make."""
    with scratch_directory() as directory:
        server = EmbeddedPostgres(directory / "postgres", take_port(), throwaway=True)
        program = server.program()
        program = replace(program, argv=(*program.argv, "-c", "track_commit_timestamp=on"))
        with started(program, log=directory / "postgres.log"):
            connection = await asyncpg.connect(server.url("postgres"))
            yield connection
            await connection.close()


async def test_times_come_in_the_order_of_the_keys(database: asyncpg.Connection) -> None:
    keys = [("did:plc:a", "app.bsky.feed.post", f"{number:05}") for number in range(ROWS)]
    await database.execute("CREATE TABLE record (did text, collection text, rkey text)")
    for first in range(0, ROWS, EVERY):
        await database.copy_records_to_table("record", records=keys[first : first + EVERY])
    await database.execute("ANALYZE record")
    # Whatever way Postgres finds best for a large table: this one brings the rows in another order than asked for.
    await database.execute("SET enable_hashjoin = off; SET enable_nestloop = off")
    asked = random.Random(3).sample(keys, ROWS // 10)
    times = await commit_times(database, [*asked, ("did:plc:a", "app.bsky.feed.post", "none")])
    assert times.pop() is None
    by_key = dict(zip(asked, times, strict=True))
    assert [by_key[key] for key in sorted(asked)] == sorted(times)
    assert len(set(times)) == ROWS // EVERY
