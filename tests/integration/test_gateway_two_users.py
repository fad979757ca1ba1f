"""Two users of one gateway never see or touch anything of each other's: every route of one, asked by the other.

The routes come from the application itself, so a new one fails here until it has a case.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.routing import BaseRoute, Route

from api_gateway.auth.methods import Method
from gateway_harness import bearer
from indexer_rig import LIKE, POST
from own_data_rig import Stack, running_both
from simulator.account import Account
from simulator.world import World
from waiting import until

PHRASE = "what-only-alice-wrote"
JOB = "{job_id}"


@dataclass(frozen=True)
class Case:
    """What Bob sends, and the statuses that he may get. ``says`` is what shows that the answer is about him."""

    statuses: tuple[int, ...]
    params: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] | None = None
    form: dict[str, str] | None = None
    says: str = ""


NOT_FOUND = Case((404,))
DONE = (200, 202, 303, 409)
# In the order in which they are asked: what deletes comes last.
CASES = {
    ("GET", "/api/user/backfill"): Case((200,), {"limit": "200"}, says="jobs"),
    ("GET", "/api/user/backfill/{job_id}"): NOT_FOUND,
    ("GET", "/api/user/backfill/{job_id}/events"): NOT_FOUND,
    ("DELETE", "/api/user/backfill/{job_id}"): NOT_FOUND,
    ("GET", "/user/backfill/{job_id}/events"): NOT_FOUND,
    ("POST", "/user/backfill/{job_id}/cancel"): Case((404,), form={}),
    ("GET", "/api/user/stats"): Case((200,), says="{did}"),
    ("GET", "/api/user/settings"): Case((200,), says="{did}"),
    ("GET", "/api/user/records"): Case((200,), {"collection": POST, "cursor": "{cursor}"}, says="{did}"),
    ("GET", "/api/user/export"): Case((200,), {"format": "csv"}, says="{did}"),
    ("GET", "/user"): Case((200,), says="{did}"),
    ("GET", "/user/cards/backfill"): Case((200,)),
    ("GET", "/user/cards/stats"): Case((200,), says=POST),
    ("GET", "/user/records"): Case((200,), {"collection": POST, "cursor": "{cursor}"}, says="{did}"),
    ("POST", "/api/user/backfill"): Case(DONE, body={"days": 0}, says="job_id"),
    ("POST", "/user/backfill"): Case(DONE, form={"days": "0"}),
    ("POST", "/api/user/toggle-collection"): Case(DONE, body={"collection": LIKE, "excluded": True}),
    ("POST", "/user/privacy/collection"): Case(DONE, form={"collection": LIKE, "excluded": "yes"}),
    ("PATCH", "/api/user/settings"): Case(DONE, body={"opted_out": True}),
    ("POST", "/user/privacy/indexing"): Case(DONE, form={"opted_out": "yes"}),
    ("POST", "/user/privacy/delete"): Case((303,), form={"confirm": "{did}"}),
    ("POST", "/api/user/delete-data"): Case(DONE, body={"confirm": "{did}"}, says="{did}"),
}


@pytest.fixture
async def stack(nats_url: str, database_url: str, world: World, tmp_path: Path) -> AsyncIterator[Stack]:
    async with running_both(nats_url, database_url, world, tmp_path, headwater_cooldown_seconds=0) as running:
        yield running


def user_routes(app: FastAPI) -> set[tuple[str, str]]:
    """(method, path) of everything that a user can ask of the application."""
    return {
        (method, path)
        for route in _flat(app.routes)
        if isinstance(route, Route)
        for path in (route.path,)
        if path == "/user" or path.startswith(("/user/", "/api/user/"))
        for method in (route.methods or set()) - {"HEAD"}
    }


def _flat(routes: list[BaseRoute]) -> list[BaseRoute]:
    """The routes, with those of the routers that were included."""
    return [found for route in routes for found in (route, *_flat(_included(route)))]


def _included(route: BaseRoute) -> list[BaseRoute]:
    router = getattr(route, "original_router", None)
    return [] if router is None else router.routes


async def test_nobody_sees_or_touches_anything_of_somebody_else(stack: Stack, world: World) -> None:
    alice, bob = world.accounts
    for account in (alice, bob):
        await stack.fill(account, f"fill-{account.handle}")
    await stack.table.execute(
        "INSERT INTO record (did, collection, rkey, cid, rev, created_at, record)"
        " VALUES ($1, $2, 'k', 'c', 'r', '1970-01-01', $3)",
        alice.did,
        POST,
        json.dumps({"text": PHRASE}),
    )
    routes = user_routes(stack.gateway.app)
    assert routes == CASES.keys(), "every route has a case here"
    described = (await stack.gateway.client.get("/openapi.json")).json()["paths"]
    documented = {
        (m.upper(), path) for path, methods in described.items() if path.startswith("/api/user") for m in methods
    }
    assert documented == {route for route in routes if route[1].startswith("/api/")}

    job_id = (await stack.gateway.ask(alice)).json()["job_id"]
    newest = await stack.get(alice, "records", Method.LIST_RECORDS, collection=POST, limit=1)
    marks = (alice.did, alice.handle, job_id, PHRASE)
    before = await _all_of(stack, alice)
    assert all(mark in before for mark in (alice.did, job_id, PHRASE)), "there is something to be seen"

    async with await stack.log_in(bob) as browser:
        for (verb, path), case in CASES.items():
            request = _request(
                stack, verb, path.replace(JOB, job_id), case, {"{did}": bob.did, "{cursor}": newest["cursor"]}
            )
            says = case.says.replace("{did}", bob.did)
            answers = [await browser.send(_with_cookies(browser, request()))]
            if path.startswith("/api/"):
                lxm = Method(described[path][verb.lower()]["x-lxm"])
                answers.append(await stack.gateway.client.send(request(bearer(bob, lxm))))
            for answer in answers:
                _is_about_bob(answer, case, says, marks)
            assert await _all_of(stack, alice) == before, (verb, path)
    await until(lambda: _is_gone(stack, bob))  # what Bob asked for has happened to Bob


async def _is_gone(stack: Stack, account: Account) -> bool:
    return await stack.rows(account) == 0


def _request(stack: Stack, verb: str, path: str, case: Case, filled: dict[str, str]) -> Any:
    def fill(values: dict[str, Any]) -> dict[str, Any]:
        return {name: filled.get(value, value) if isinstance(value, str) else value for name, value in values.items()}

    def build(headers: dict[str, str] | None = None) -> httpx.Request:
        return stack.gateway.client.build_request(
            verb,
            path,
            params=fill(case.params),
            json=None if case.body is None else fill(case.body),
            data=None if case.form is None else fill(case.form),
            headers={"Accept": "*/*", "Sec-Fetch-Site": "same-origin", **(headers or {})},
        )

    return build


def _with_cookies(browser: httpx.AsyncClient, request: httpx.Request) -> httpx.Request:
    request.headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    return request


def _is_about_bob(answer: httpx.Response, case: Case, says: str, marks: tuple[str, ...]) -> None:
    asked = f"{answer.request.method} {answer.request.url.path}"
    assert answer.status_code in case.statuses, (asked, answer.text)
    assert says in answer.text, (asked, answer.text)
    assert "no-store" in answer.headers["cache-control"], f"{asked}: what is personal stays in no cache"
    for mark in marks:
        assert mark not in answer.text, (asked, answer.text)
        assert mark not in str(answer.headers), asked


async def _all_of(stack: Stack, account: Account) -> str:
    """All that there is of an account: rows, settings, jobs, and what waits in the queue."""
    rows = await stack.table.fetch("SELECT * FROM record WHERE did = $1 ORDER BY collection, rkey", account.did)
    repo = await stack.table.fetch("SELECT * FROM repo WHERE did = $1", account.did)
    jobs = await stack.get(account, "backfill", Method.LIST_BACKFILLS)
    queued = await stack.bus.queued(account.did)
    return repr([[tuple(row.values()) for row in rows], [tuple(row.values()) for row in repo], jobs, queued])


async def test_anothers_job_is_as_unknown_as_none(stack: Stack, world: World) -> None:
    """The two cannot be told apart, so that nobody learns which jobs there are."""
    alice, bob = world.accounts
    job_id = (await stack.gateway.ask(alice)).json()["job_id"]
    nobodys = job_id[:-4] + ("0000" if not job_id.endswith("0000") else "1111")
    for verb, method, tail in (
        ("GET", Method.GET_BACKFILL, ""),
        ("GET", Method.GET_BACKFILL, "/events"),
        ("DELETE", Method.CANCEL_BACKFILL, ""),
    ):
        anothers, none = [await stack.ask(bob, verb, f"backfill/{one}{tail}", method) for one in (job_id, nobodys)]
        assert anothers.status_code == none.status_code == 404
        assert anothers.content == none.content
        assert {*anothers.headers} == {*none.headers}
    assert (await stack.bus.queued(alice.did)) is not None


async def test_logging_out_everywhere_ends_nobody_elses_session(stack: Stack, world: World) -> None:
    alice, bob = world.accounts
    async with await stack.log_in(alice) as hers, await stack.log_in(bob) as his:
        assert (await his.post("/oauth/logout", data={"everywhere": "yes"})).status_code == 303
        assert (await his.get("/api/user/settings")).status_code == 401
        assert (await hers.get("/api/user/settings")).json()["did"] == alice.did
