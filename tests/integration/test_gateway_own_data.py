"""What users may do with their own rows: a gateway and an indexer on a real NATS and a real Postgres."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from api_gateway.auth.methods import Method
from api_gateway.record_format import cursor_of
from gateway_harness import PROBLEM, bearer, running_gateway
from headwater.bus.jobs import BackfillRequest, FetchPart, FetchState
from headwater.bus.records import Place
from headwater.clock import now_us
from indexer_rig import LIKE, POST
from own_data_rig import ROWS, Stack, refused
from simulator.account import Account
from simulator.world import World
from waiting import until


async def test_records_stats_and_exports_are_ones_own(stack: Stack, world: World) -> None:
    alice, bob = world.accounts
    await stack.fill(alice, "one")
    pages, cursor = [], None
    while True:
        more = {"cursor": cursor} if cursor else {}
        page = await stack.get(alice, "records", Method.LIST_RECORDS, collection=POST, limit=2, **more)
        pages.append([record["rkey"] for record in page["records"]])
        cursor = page["cursor"]
        if cursor is None:
            break
    assert pages == [["p4", "p3"], ["p2", "p1"], ["p0"]]
    (like,) = (await stack.get(alice, "records", Method.LIST_RECORDS, collection=LIKE))["records"]
    assert like["uri"] == f"at://{alice.did}/{LIKE}/l"
    assert (like["record"], like["created_at"]) == ({"value": 9}, "1970-01-01T00:00:09.000000Z")
    stats = await stack.get(alice, "stats", Method.GET_STATS)
    assert (stats["records"], stats["months"]) == (6, [{"month": "1970-01", "records": 6}])
    assert (await stack.settings(alice))["sync_state"] == "synchronized"

    lines = await stack.ask(alice, "GET", "export", Method.EXPORT_RECORDS)
    assert lines.headers["content-type"] == "application/jsonl"
    assert "attachment" in lines.headers["content-disposition"]
    assert [json.loads(line)["rkey"] for line in lines.text.splitlines()] == ["l", "p0", "p1", "p2", "p3", "p4"]
    table = await stack.ask(alice, "GET", "export?format=csv&collection=" + POST, Method.EXPORT_RECORDS)
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert [json.loads(row["record"]) for row in rows] == [{"value": number} for number in range(5)]

    assert (await stack.get(bob, "stats", Method.GET_STATS))["records"] == 0
    there = cursor_of(Place(POST, "p4", 10_000_000))
    assert (await stack.get(bob, "records", Method.LIST_RECORDS, collection=POST, cursor=there))["records"] == []
    assert (await stack.ask(bob, "GET", "export", Method.EXPORT_RECORDS)).text == ""


async def test_opting_out_and_in_again(stack: Stack, world: World) -> None:
    alice = world.accounts[0]
    await stack.fill(alice, "one")
    for _ in range(2):
        answer = await stack.opt(alice, True)
        assert (answer.status_code, answer.json()["opted_out"]) == (200, True)
    assert await stack.table.fetchval("SELECT count(*) FROM post") == 0
    refused(await stack.gateway.ask(alice), 403, "opted_out")
    assert (await stack.opt(alice, False)).json()["opted_out"] is False
    assert await stack.table.fetchval("SELECT count(*) FROM post") == 5


@pytest.mark.parametrize(("decision", "reason"), [("opt out", "opted_out"), ("delete", "account_deleted")])
async def test_a_job_that_is_fetching_ends_with_its_reason(
    stack: Stack, world: World, decision: str, reason: str
) -> None:
    alice = world.accounts[0]
    jobs = await stack.bus.jobs()
    request = BackfillRequest(
        job_id="j1", did=alice.did, days=0, cutoff_us=None, requested_at_us=now_us(), requested_by="user", actor="a"
    )
    await jobs.put_request(request)
    await jobs.put_fetch(alice.did, "j1", FetchPart(state=FetchState.FETCHING, attempt=3, updated_at_us=1))
    answer = await (stack.opt(alice, True) if decision == "opt out" else stack.delete(alice, alice.did))
    assert answer.status_code == 200
    job = await stack.get(alice, "backfill/j1", Method.GET_BACKFILL)
    assert (job["state"], job["reason"]) == ("failed", reason)


async def test_deleting_wants_the_accounts_own_name(stack: Stack, world: World) -> None:
    alice, bob = world.accounts
    await stack.fill(alice, "one")
    for wrong in ("", "yes", bob.did, bob.handle, alice.did + "x", "no.such.handle.test", "@"):
        refused(await stack.delete(alice, wrong), 422, "not_confirmed")
    assert await stack.rows(alice) == len(ROWS)
    await stack.fill(bob, "two")
    answer = await stack.delete(alice, f"@{alice.handle.upper()}")
    assert answer.status_code == 200, answer.text
    assert answer.json()["opted_out"] is True
    assert (await stack.get(alice, "stats", Method.GET_STATS))["records"] == 0
    await until(lambda: _is_gone(stack, alice))
    assert await stack.rows(bob) == len(ROWS)
    assert (await stack.opt(alice, False)).status_code == 200
    assert (await stack.settings(alice))["last_backfill_at_us"] is None


async def _is_gone(stack: Stack, account: Account) -> bool:
    return await stack.rows(account) == 0 and not (await stack.settings(account))["deleting"]


async def test_a_collection_is_kept_out_and_let_in(stack: Stack, world: World) -> None:
    alice = world.accounts[0]
    await stack.fill(alice, "one")
    assert (await stack.toggle(alice, POST, True)).json()["excluded"] == [POST]
    assert [one["collection"] for one in (await stack.get(alice, "stats", Method.GET_STATS))["collections"]] == [LIKE]
    await until(lambda: _has(stack, alice, 1))
    await until(lambda: _is_not_deleting(stack, alice))
    answer = (await stack.toggle(alice, POST, False)).json()
    assert (answer["excluded"], answer["incomplete"]) == ([], True)


async def _has(stack: Stack, account: Account, count: int) -> bool:
    return await stack.rows(account) == count


async def _is_not_deleting(stack: Stack, account: Account) -> bool:
    return not (await stack.settings(account))["deleting"]


CALLS: list[tuple[str, str, Method, dict[str, Any]]] = [
    ("GET", "stats", Method.GET_STATS, {}),
    ("GET", "settings", Method.GET_SETTINGS, {}),
    ("GET", f"records?collection={POST}", Method.LIST_RECORDS, {}),
    ("GET", "export", Method.EXPORT_RECORDS, {}),
    ("GET", "backfill", Method.LIST_BACKFILLS, {}),
    ("GET", "backfill/one", Method.GET_BACKFILL, {}),
    ("GET", "backfill/one/events", Method.GET_BACKFILL, {}),
    ("DELETE", "backfill/one", Method.CANCEL_BACKFILL, {}),
    ("POST", "backfill", Method.REQUEST_BACKFILL, {"json": {"days": 1}}),
    ("PATCH", "settings", Method.UPDATE_SETTINGS, {"json": {"opted_out": True}}),
    ("POST", "toggle-collection", Method.TOGGLE_COLLECTION, {"json": {"collection": POST, "excluded": True}}),
    ("POST", "delete-data", Method.DELETE_DATA, {"json": {"confirm": "bob"}}),
]


async def test_nobody_reaches_anothers_anything(stack: Stack, world: World) -> None:
    alice, bob = world.accounts
    jobs = await stack.bus.jobs()
    request = BackfillRequest(
        job_id="one", did=alice.did, days=0, cutoff_us=None, requested_at_us=1, requested_by="user", actor="a"
    )
    await jobs.put_request(request)
    await stack.fill(alice, "one")
    before = await stack.settings(alice)
    routes = {
        (verb.upper(), path)
        for path, verbs in (await stack.gateway.client.get("/openapi.json")).json()["paths"].items()
        if path.startswith("/api/user/")
        for verb in verbs
    }
    called = {(verb, "/api/user/" + path.partition("?")[0].replace("/one", "/{job_id}")) for verb, path, _, _ in CALLS}
    assert called == routes, "every user endpoint is tried"
    for verb, path, method, more in CALLS:
        if "confirm" in more.get("json", {}):
            more = {"json": {"confirm": bob.did}}
        answer = await stack.ask(bob, verb, path, method, **more)
        assert answer.status_code == (404 if "one" in path else answer.status_code), path
        assert alice.did not in answer.text, path
        # A token says whose it is, and for what: signed by another, or for another method, it opens nothing.
        forged = bob.service_auth("did:web:gateway.test", method.value, iss=alice.did)
        headers = {"Authorization": f"Bearer {forged}"}
        url = f"/api/user/{path}"
        refused(await stack.gateway.client.request(verb, url, headers=headers, **more), 401, "token_signature")
        other = Method.GET_STATS if method is not Method.GET_STATS else Method.GET_SETTINGS
        refused(await stack.ask(alice, verb, path, other, **more), 401, "token_method")
        assert (await stack.gateway.client.request(verb, url, **more)).status_code == 401
    assert await stack.settings(alice) == before
    assert await stack.rows(alice) == len(ROWS)
    assert await jobs.cancel(alice.did, "one") is None


BAD = [
    ("GET", "records", Method.LIST_RECORDS, {}),
    ("GET", "records?collection=x", Method.LIST_RECORDS, {}),
    ("GET", f"records?collection={POST}&limit=0", Method.LIST_RECORDS, {}),
    ("GET", f"records?collection={POST}&cursor=!", Method.LIST_RECORDS, {}),
    ("GET", f"records?collection={POST}&cursor=W10", Method.LIST_RECORDS, {}),
    ("GET", f"records?collection={POST}&cursor=WyJhLmIuYyIsImsiLDFlOTld", Method.LIST_RECORDS, {}),
    ("GET", f"records?collection={POST}&text=%00", Method.LIST_RECORDS, {}),
    ("GET", f"records?collection={POST}&text=" + "x" * 201, Method.LIST_RECORDS, {}),
    ("GET", "export?format=xml", Method.EXPORT_RECORDS, {}),
    ("GET", "export?collection=..", Method.EXPORT_RECORDS, {}),
    ("PATCH", "settings", Method.UPDATE_SETTINGS, {"json": {"opted_out": "yes"}}),
    ("PATCH", "settings", Method.UPDATE_SETTINGS, {"json": {}}),
    ("POST", "toggle-collection", Method.TOGGLE_COLLECTION, {"json": {"collection": "*", "excluded": True}}),
    ("POST", "toggle-collection", Method.TOGGLE_COLLECTION, {"content": b"["}),
    ("POST", "delete-data", Method.DELETE_DATA, {"json": {"confirm": None}}),
    ("POST", "delete-data", Method.DELETE_DATA, {"json": {"confirm": "x" * 3_000}}),
]


async def test_bad_input_is_refused_in_words(stack: Stack, world: World) -> None:
    for verb, path, method, more in BAD:
        answer = await stack.ask(world.accounts[0], verb, path, method, **more)
        assert answer.status_code == 422, (path, answer.text)
        assert answer.headers["content-type"] == PROBLEM
        assert answer.json()["reason"] in ("invalid_input", "syntax"), path


async def test_without_an_indexer_nothing_is_half_done(nats_url: str, world: World, tmp_path: Path) -> None:
    alice = world.accounts[0]
    async with running_gateway(nats_url, world.plc.url, tmp_path) as gateway:
        for verb, path, method, more in CALLS:
            if method in (Method.UPDATE_SETTINGS, Method.TOGGLE_COLLECTION, Method.LIST_RECORDS, Method.GET_STATS):
                headers = bearer(alice, method)
                answer = await gateway.client.request(verb, f"/api/user/{path}", headers=headers, **more)
                refused(answer, 503, "unavailable")


async def test_a_reader_that_leaves_ends_its_export(stack: Stack, world: World) -> None:
    alice = world.accounts[0]
    await stack.table.execute(
        "INSERT INTO record (did, collection, rkey, cid, rev, created_at, record)"
        " SELECT $1, $2, n::text, 'c', 'r', now(), jsonb_build_object('text', repeat(md5(n::text), 4000))"
        " FROM generate_series(1, 400) AS n",
        alice.did,
        POST,
    )
    headers = bearer(alice, Method.EXPORT_RECORDS)

    async def begun() -> bool:
        async with stack.gateway.client.stream("GET", "/api/user/export", headers=headers) as answer:
            assert answer.status_code in (200, 429)
            async for _ in answer.aiter_bytes():
                break
        return answer.status_code == 200

    for _ in range(3):  # more than the places that one account has; one that is left becomes free in a moment
        await until(begun)

    async def whole() -> bool:
        answer = await stack.ask(alice, "GET", "export", Method.EXPORT_RECORDS)
        assert answer.status_code == 429 or len(answer.text.splitlines()) == 400, answer.status_code
        return answer.status_code == 200

    await until(whole)
