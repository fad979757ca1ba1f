"""Postgres held against the simulated world: every row, none missing, none surplus, and nobody shown who is hidden."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import asyncpg

from simulator import ExpectedRepo

Expected = Mapping[str, ExpectedRepo]
Found = dict[tuple[str, str], tuple[str, Any]]

_ROWS = "SELECT did, collection, rkey, cid, record::text AS record FROM record WHERE did = ANY ($1) ORDER BY did"
_REPOS = "SELECT did, handle, status FROM repo WHERE did = ANY ($1)"
_STRANGERS = "SELECT did, count(*) AS number FROM record WHERE did <> ALL ($1) GROUP BY did LIMIT 5"
_VIEWS = """
SELECT c.relname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'did'
WHERE c.relkind = 'v' AND c.relnamespace = 'public'::regnamespace
AND EXISTS (SELECT FROM pg_attribute AS r WHERE r.attrelid = c.oid AND r.attname = 'rkey')
"""
#: So many accounts' rows are in memory at once.
_ACCOUNTS_AT_ONCE = 200
_NAMED = 5
_BETWEEN_LOOKS_S = 0.25


async def differences(database: asyncpg.Connection, expected: Expected) -> list[str]:
    """What in the table is not as it has to be, a line each; empty when all is well."""
    dids = list(expected)
    strangers = await database.fetch(_STRANGERS, dids)
    found = [f"{row['did']} is not of this world and has {row['number']} rows" for row in strangers]
    for start in range(0, len(dids), _ACCOUNTS_AT_ONCE):
        some = dids[start : start + _ACCOUNTS_AT_ONCE]
        tables: dict[str, Found] = {did: {} for did in some}
        for row in await database.fetch(_ROWS, some):
            tables[row["did"]][row["collection"], row["rkey"]] = (row["cid"], json.loads(row["record"]))
        for did in some:
            found += compare_rows(expected[did], tables[did])
        repos = {row["did"]: row for row in await database.fetch(_REPOS, some)}
        for did in some:
            found += _compare_repo(expected[did], repos.get(did))
    return found + await _shown_though_hidden(database, [repo.did for repo in expected.values() if repo.hidden])


async def assert_world(database_url: str, expected: Expected) -> None:
    """The table is what the world is; an AssertionError says in a few lines where not."""
    database = await asyncpg.connect(database_url)
    try:
        found = await differences(database, expected)
    finally:
        await database.close()
    assert not found, _told(found)


async def until_world(database_url: str, expected: Callable[[], Expected], seconds: float) -> None:
    """Wait until the table is what the world is, at most so long; then fail as `assert_world` does."""
    deadline = time.monotonic() + seconds
    database = await asyncpg.connect(database_url)
    try:
        while found := await differences(database, expected()):
            assert time.monotonic() < deadline, _told(found)
            await asyncio.sleep(_BETWEEN_LOOKS_S)
    finally:
        await database.close()


def compare_rows(expected: ExpectedRepo, found: Found) -> list[str]:
    """What is wrong with the rows of one account."""
    if expected.hidden:
        return []
    missing = expected.due - found.keys()
    surplus = found.keys() - expected.rows.keys()
    different = [key for key in found.keys() & expected.rows.keys() if found[key] != expected.rows[key]]
    named = f"{expected.did} ({expected.handle}, {expected.status})"
    lines = [_line(named, "missing", missing), _line(named, "surplus", surplus), _line(named, "different", different)]
    return [line for line in lines if line]


def _compare_repo(expected: ExpectedRepo, repo: asyncpg.Record | None) -> list[str]:
    """What is wrong with an account's row in `repo`; one that has nothing to index need not have one."""
    if repo is None:
        return [f"{expected.did} has no row in repo"] if expected.due and not expected.hidden else []
    wrong = []
    if (repo["status"] == "active") is not (expected.status == "active"):
        wrong.append(f"{expected.did} is {expected.status}, and {repo['status']} in the table")
    if repo["handle"] not in (None, expected.handle) and expected.status != "deleted":
        wrong.append(f"{expected.did} is {expected.handle}, and {repo['handle']} in the table")
    return wrong


async def _shown_though_hidden(database: asyncpg.Connection, hidden: list[str]) -> list[str]:
    """Rows of hidden accounts in the views."""
    if not hidden:
        return []
    shown = []
    for view in await database.fetch(_VIEWS):
        name = view["relname"]
        number = await database.fetchval(f'SELECT count(*) FROM "{name}" WHERE did = ANY ($1)', hidden)
        if number:
            shown.append(f"{number} rows of hidden accounts show in the view {name}")
    return shown


def _line(named: str, what: str, keys: Iterable[tuple[str, str]]) -> str:
    listed = sorted(keys)
    return f"{named}: {len(listed)} rows {what}, such as {listed[:_NAMED]}" if listed else ""


def _told(found: list[str]) -> str:
    more = f"\n… and {len(found) - 20} more" if len(found) > 20 else ""
    return f"{len(found)} differences:\n" + "\n".join(found[:20]) + more
