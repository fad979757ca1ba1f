"""What operators see of the firehose, and how they steer it, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from rich.console import Console

from gateway_harness import PROBLEM, RunningGateway, bystander
from headwater.bus.firehose import (
    CrawlProgress,
    Gap,
    GapKind,
    GapState,
    LiveProgress,
    PieceState,
    ReplayProgress,
    live_key,
    new_plan,
)
from headwater.bus.firehose_store import FirehoseStore
from headwater.bus.streams import BUCKET_CONTROL, BUCKET_FIREHOSE
from headwater.clock import DAY_US, now_us
from headwater_local.firehose_tables import firehose_tables


@pytest.fixture
async def store(nats_url: str, gateway: RunningGateway) -> AsyncIterator[FirehoseStore]:
    async with bystander(nats_url) as bus:
        firehose = await bus.js.key_value(BUCKET_FIREHOSE)
        tail = LiveProgress(worker_id=0, worker_count=1, relay="relay.test", connected=True, seq=7, lag_seconds=0.5)
        await firehose.put(live_key(0), tail.model_dump_json().encode())
        yield FirehoseStore(await bus.js.key_value(BUCKET_CONTROL), firehose)


async def ask(gateway: RunningGateway, method: str, path: str = "", **arguments: object) -> httpx.Response:
    url = f"/api/admin/firehose{path}"
    return await gateway.client.request(method, url, headers=gateway.operator, **arguments)  # type: ignore[arg-type]


def gap(gap_id: str, state: GapState) -> Gap:
    return Gap(
        gap_id=gap_id, kind=GapKind.SEQ_JUMP, state=state, relay="relay.test", worker_id=0, from_us=5, found_at_us=9
    )


async def test_the_whole_story_is_told(gateway: RunningGateway, store: FirehoseStore) -> None:
    plan = new_plan(7, now_us(), "environment")
    assert await store.change_plan(plan, 0)
    await store.put_replay(ReplayProgress(plan_id=plan.plan_id, state=PieceState.DONE, events=12))
    crawl = CrawlProgress(
        crawl_id="c", plan_id=plan.plan_id, state=PieceState.RUNNING, listed=1_500, total=3_000, filed=900, waiting=17,
        repos_per_second=30.0, seconds_left=600.0,
    )  # fmt: skip
    await store.put_crawl(crawl)
    await store.put_crawl(CrawlProgress(crawl_id="g", gap_ids=["g1"], state=PieceState.RUNNING))
    await store.put_gap(gap("g1", GapState.CLOSING))
    await store.put_gap(gap("g0", GapState.CLOSED))

    answer = (await ask(gateway, "GET")).json()
    assert (answer["plan"]["days"], answer["history"]) == (7, "running")
    assert (answer["replay"]["events"], answer["crawl"]["filed"]) == (12, 900)
    assert answer["gap_crawl"]["gap_ids"] == ["g1"]
    assert [(found["gap_id"], found["state"]) for found in answer["gaps"]] == [("g1", "closing"), ("g0", "closed")]
    (tail,) = answer["live"]
    assert (tail["relay"], tail["seq"]) == ("relay.test", 7)
    status = await gateway.client.get("/api/admin/status", headers=gateway.operator)
    assert status.json()["firehose"] == answer

    console = Console(width=200, record=True)
    for table in firehose_tables(answer, now_us()):
        console.print(table)
    text = console.export_text()
    for said in ("7 days, asked for by the environment", "1,500 of 3,000 repos listed, 900 filed, 17 waiting", "10 min",
                 "relay.test: seq 7", "12 events", "closing gaps", "seq jump", "1 closed lately"):  # fmt: skip
        assert said in text


async def test_other_days_are_a_new_plan(gateway: RunningGateway, store: FirehoseStore) -> None:
    old = new_plan(0, now_us(), "environment")
    assert await store.change_plan(old, 0)
    await store.put_replay(ReplayProgress(plan_id=old.plan_id, state=PieceState.DONE))
    answer = await ask(gateway, "POST", "/backfill", json={"days": 30})
    assert answer.status_code == 202, answer.text
    plan, _ = await store.plan()
    assert plan is not None
    assert plan.plan_id != old.plan_id
    assert (plan.days, plan.requested_by, plan.cutoff_us) == (30, "operator", plan.requested_at_us - 30 * DAY_US)
    assert (answer.json()["replay"], answer.json()["history"]) == (None, "waiting"), "the old one's is not shown"
    everything = await ask(gateway, "POST", "/backfill", json={"days": -1})
    assert everything.json()["plan"]["cutoff_us"] is None


async def test_pause_and_resume_change_nothing_else(gateway: RunningGateway, store: FirehoseStore) -> None:
    too_early = await ask(gateway, "POST", "/pause")
    assert (too_early.status_code, too_early.headers["content-type"]) == (409, PROBLEM)
    assert too_early.json()["reason"] == "no_plan"
    plan = new_plan(3, now_us(), "environment")
    assert await store.change_plan(plan, 0)
    for _ in range(2):
        paused = await ask(gateway, "POST", "/pause")
        assert (paused.status_code, paused.json()["history"]) == (200, "paused")
    assert (await store.plan())[0] == plan.model_copy(update={"paused": True})
    assert (await ask(gateway, "POST", "/resume")).status_code == 200
    assert (await store.plan())[0] == plan


@pytest.mark.parametrize("body", [{}, {"days": -2}, {"days": 3651}, {"days": "7"}, {"days": 1, "now": True}])
async def test_what_is_no_number_of_days_is_refused(gateway: RunningGateway, body: dict[str, object]) -> None:
    answer = await ask(gateway, "POST", "/backfill", json=body)
    assert (answer.status_code, answer.json()["reason"]) == (422, "invalid_input")


async def test_it_is_for_operators(gateway: RunningGateway) -> None:
    for method, path in (("GET", ""), ("POST", "/backfill"), ("POST", "/pause"), ("POST", "/resume")):
        assert (await gateway.client.request(method, f"/api/admin/firehose{path}")).status_code == 401
