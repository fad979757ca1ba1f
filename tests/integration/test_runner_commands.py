"""``headwater backfill``, ``import``, ``cancel`` and ``status`` as processes, against a gateway that plays a part."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from simulator.world import World

JOB = {
    "job_id": "job1",
    "did": "did:plc:alice",
    "actor": "alice.test",
    "handle": "alice.test",
    "lane": "user",
    "days": 0,
    "requested_by": "operator",
    "state": "queued",
    "attempt": 1,
    "cancel_requested": False,
    "requested_at_us": 1_000_000,
    "started_at_us": 1_000_000,
    "updated_at_us": 1_000_000,
    "finished_at_us": None,
    "pds": "https://pds.test",
    "rev": "3kabc",
    "bytes_fetched": 100,
    "bytes_total": None,
    "records_published": 0,
    "records_total": None,
    "records_written": 0,
    "records_deleted": 0,
    "unchanged": False,
    "rejected": {},
    "collections": {},
    "reason": None,
    "detail": None,
    "next_try_at_us": None,
}
INDEXING = JOB | {"state": "indexing", "records_total": 10, "records_written": 4, "records_published": 10}
DONE = INDEXING | {"state": "done", "records_written": 10, "finished_at_us": 2_000_000}
FAILED = JOB | {"state": "failed", "reason": "not_found", "detail": "RepoNotFound", "finished_at_us": 2_000_000}


@dataclass
class Part:
    """What the gateway plays: the answers, and what it was asked. An event None: the connection breaks there."""

    home: Path
    url: str = ""
    accept: tuple[int, dict[str, Any]] = (202, {"success": True, "job_id": "job1", "message": "accepted"})
    events: list[list[dict[str, Any] | None]] = field(default_factory=lambda: [[JOB, INDEXING, DONE]])
    asked: list[tuple[str, dict[str, Any], bytes]] = field(default_factory=list)
    followed: asyncio.Event = field(default_factory=asyncio.Event)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Part]:
    part = Part(tmp_path / "home")
    part.home.mkdir()
    (part.home / "operator-token").write_text("secret\n")

    async def post(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != "Bearer secret":
            return web.json_response({"title": "Unauthorized", "detail": "wrong token"}, status=401)
        part.asked.append((request.path, dict(request.query), await request.read()))
        status, body = part.accept
        return web.json_response(body, status=status)

    async def events(request: web.Request) -> web.StreamResponse:
        part.followed.set()
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        for event in part.events.pop(0):
            if event is None:
                assert request.transport is not None
                request.transport.abort()
                return answer
            await answer.write(b": comment\n\nevent: job\ndata: " + json.dumps(event).encode() + b"\n\n")
        if event is not None and event["state"] not in ("done", "failed", "cancelled"):
            await asyncio.sleep(3600)
        return answer

    async def status(request: web.Request) -> web.Response:
        return web.json_response({"jobs": {"done": 3}})

    app = web.Application()
    app.router.add_post("/api/admin/{path:.*}", post)
    app.router.add_get("/api/admin/jobs/job1/events", events)
    app.router.add_get("/api/admin/status", status)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    part.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield part
    await runner.cleanup()


async def headwater(part: Part, *arguments: str, **options: Any) -> asyncio.subprocess.Process:
    pipes = {"stdin": asyncio.subprocess.DEVNULL, "stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE}
    environment = {**os.environ, "HEADWATER_HOME": str(part.home), "GATEWAY_URL": part.url}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "headwater_local", *arguments, env=environment, cwd=part.home, **(pipes | options)
    )


async def run(part: Part, *arguments: str) -> tuple[int, str, str]:
    process = await headwater(part, *arguments)
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_backfill_follows_the_job_to_done(gateway: Part) -> None:
    code, out, err = await run(gateway, "backfill", "@alice.test", "--days", "30")
    assert (code, out) == (0, "")
    assert gateway.asked == [("/api/admin/backfill", {}, b'{"actor": "alice.test", "days": 30}')]
    assert "alice.test indexing" in err
    assert "done: alice.test (did:plc:alice) at rev 3kabc: 10 records written, 1.0 s" in err


async def test_json_is_the_final_job_and_nothing_else(gateway: Part) -> None:
    code, out, err = await run(gateway, "backfill", "alice.test", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == DONE


@pytest.mark.parametrize("as_json", [False, True])
async def test_a_failed_job_exits_with_1_and_says_why(gateway: Part, as_json: bool) -> None:
    gateway.events = [[JOB, FAILED]]
    code, out, err = await run(gateway, "backfill", "alice.test", *(["--json"] if as_json else []))
    assert code == 1
    if as_json:
        assert json.loads(out) == FAILED
    else:
        assert "failed: alice.test (did:plc:alice): not_found: RepoNotFound" in err


async def test_a_job_that_runs_already_is_followed(gateway: Part) -> None:
    gateway.accept = (409, {"title": "Conflict", "detail": "one is running", "job_id": "job1"})
    code, _, err = await run(gateway, "backfill", "alice.test")
    assert code == 0
    assert "job1 is running already" in err


async def test_a_refusal_exits_with_1_and_the_gateways_words(gateway: Part) -> None:
    gateway.accept = (422, {"title": "Unprocessable", "detail": "unresolvable: alice.test"})
    code, _, err = await run(gateway, "backfill", "alice.test")
    assert (code, err) == (1, "headwater: unresolvable: alice.test (HTTP 422)\n")


async def test_a_wrong_token_is_said(gateway: Part) -> None:
    (gateway.home / "operator-token").write_text("other")
    code, _, err = await run(gateway, "backfill", "alice.test")
    assert (code, err) == (1, "headwater: wrong token (HTTP 401)\n")


async def test_no_gateway_is_said(gateway: Part) -> None:
    gateway.url = "http://127.0.0.1:1"
    code, _, err = await run(gateway, "status")
    assert code == 1
    assert err.startswith("headwater: no answer from the gateway at http://127.0.0.1:1")


async def test_a_gateway_that_breaks_off_is_asked_again(gateway: Part) -> None:
    gateway.events = [[JOB, None], [INDEXING, None], [DONE]]
    code, out, _ = await run(gateway, "backfill", "alice.test", "--json")
    assert (code, json.loads(out)) == (0, DONE)


async def test_ctrl_c_without_a_terminal_says_how_to_cancel(gateway: Part) -> None:
    gateway.events = [[JOB]]
    process = await headwater(gateway, "backfill", "alice.test")
    await asyncio.wait_for(gateway.followed.wait(), 60)
    process.send_signal(signal.SIGINT)
    _, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 130
    assert b"headwater cancel job1" in err
    assert [path for path, _, _ in gateway.asked] == ["/api/admin/backfill"]


@pytest.mark.parametrize(("answer", "cancels"), [(b"y\n", True), (b"\n", False)])
async def test_ctrl_c_at_a_terminal_asks_whether_to_cancel(gateway: Part, answer: bytes, cancels: bool) -> None:
    gateway.events = [[JOB]]
    ours, theirs = pty.openpty()
    try:
        process = await headwater(gateway, "backfill", "alice.test", stdin=theirs, stderr=theirs)
        await asyncio.wait_for(gateway.followed.wait(), 60)
        await read_until(ours, b"queued")
        process.send_signal(signal.SIGINT)
        await read_until(ours, b"Cancel job job1?")
        os.write(ours, answer)
        assert await asyncio.wait_for(process.wait(), 60) == 130
    finally:
        os.close(ours)
        os.close(theirs)
    asked = [path for path, _, _ in gateway.asked]
    assert asked == ["/api/admin/backfill"] + ["/api/admin/jobs/job1/cancel"] * cancels


async def read_until(terminal: int, wanted: bytes) -> None:
    seen = b""
    async with asyncio.timeout(60):
        while wanted not in seen:
            seen += await asyncio.to_thread(os.read, terminal, 4096)


async def test_cancel_asks_the_gateway(gateway: Part) -> None:
    assert (await run(gateway, "cancel", "job1"))[0] == 0
    assert gateway.asked == [("/api/admin/jobs/job1/cancel", {}, b"")]
    gateway.accept = (409, {"title": "Conflict", "detail": "it is done"})
    assert await run(gateway, "cancel", "job1") == (1, "", "headwater: it is done (HTTP 409)\n")


def exported(gateway: Part) -> tuple[str, Path]:
    """A CAR on disk: whose it is, and where."""
    car = gateway.home / "repo.car"
    with World(1) as world:
        account = world.add_account()
        account.post("hello")
        car.write_bytes(account.car_bytes())
    return account.did, car


async def test_import_hands_the_file_in(gateway: Part) -> None:
    did, car = exported(gateway)
    code, _, _ = await run(gateway, "import", str(car), "--did-key", "did:key:zQ3abc", "--days", "7")
    assert code == 0
    query = {"did": did, "days": "7", "did_key": "did:key:zQ3abc"}
    assert gateway.asked == [("/api/admin/import", query, car.read_bytes())]


async def test_import_does_not_take_the_end_of_another_job_for_its_own(gateway: Part) -> None:
    did, car = exported(gateway)
    gateway.accept = (409, {"title": "Conflict", "detail": "one is running", "job_id": "job1"})
    said = f"headwater: not imported: job job1 of {did} runs; import it when that has ended\n"
    assert await run(gateway, "import", str(car)) == (1, "", said)


async def test_status_is_a_table_or_json(gateway: Part) -> None:
    code, out, _ = await run(gateway, "status", "--json")
    assert (code, json.loads(out)) == (0, {"jobs": {"done": 3}})
    code, out, _ = await run(gateway, "status")
    assert code == 0
    assert "done" in out


async def test_the_firehose_is_steered_through_the_gateway(gateway: Part) -> None:
    plan = {"plan_id": "p", "days": -1, "cutoff_us": None, "requested_by": "operator", "paused": False}
    told = {
        "plan": plan,
        "history": "waiting",
        "live": [],
        "replay": None,
        "crawl": None,
        "gap_crawl": None,
        "gaps": [],
    }
    gateway.accept = (202, told)
    code, out, _ = await run(gateway, "firehose", "start", "--days", "-1", "--json")
    assert (code, json.loads(out)) == (0, told)
    code, out, _ = await run(gateway, "firehose", "pause")
    assert code == 0
    assert "everything, asked for by the operator" in out
    assert (await run(gateway, "firehose", "resume"))[0] == 0
    assert [(path, body) for path, _, body in gateway.asked] == [
        ("/api/admin/firehose/backfill", b'{"days": -1}'),
        ("/api/admin/firehose/pause", b""),
        ("/api/admin/firehose/resume", b""),
    ]
    assert (await run(gateway, "firehose", "start", "--days", "-2"))[0] == 2
