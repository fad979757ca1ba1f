"""Dead letters over the API: looked at, paged, put on their way again in the way that fits, dropped."""

from __future__ import annotations

import base64
import math
from typing import Any

import cbor2
import httpx
import pytest
from nats.aio.msg import Msg

from gateway_harness import Bystander, RunningGateway, problem
from headwater.bus.dead_letters import KEPT_BYTES, keep_dead_letter
from headwater.bus.jobs import BackfillRequest
from headwater.bus.queries import AccountQuery, FetchAnewAsked
from headwater.bus.round_trip import round_trip
from headwater.bus.streams import STREAM_BACKFILL, STREAM_DEAD_LETTERS, STREAM_REQUESTS
from headwater.bus.subjects import FETCH_ANEW, RequestLane, backfill_subject, request_subject
from headwater.clock import now_us
from headwater.errors import Reason

DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
BLOCK = cbor2.dumps({"$type": "app.bsky.feed.post", "text": "<b>hostile</b>", "score": 1.5, "x": math.nan})
OF_RECORD = {"Headwater-Did": DID, "Headwater-Rev": "3l3qo2vutsw2b", "Headwater-Collection": "app.bsky.feed.post"}
OF_RECORD |= {"Headwater-Rkey": "3l3qo2vuowo2b", "Headwater-Job": "0006512bd5c1a0a1b2c3d4e5f6"}


async def ask(gateway: RunningGateway, method: str, path: str = "") -> httpx.Response:
    return await gateway.client.request(method, f"/api/admin/dead-letters{path}", headers=gateway.operator)


async def listed(gateway: RunningGateway, query: str = "") -> dict[str, Any]:
    answer = await ask(gateway, "GET", query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def keep(bus: Bystander, kind: str, reason: Reason, payload: bytes, headers: dict[str, str]) -> None:
    await keep_dead_letter(bus.js, kind, reason, payload, headers, "as it was said")


async def test_a_letter_is_looked_at(gateway: RunningGateway, bus: Bystander) -> None:
    assert await listed(gateway) == {"letters": [], "next": None, "counts": [], "last_id": 0}
    await keep(bus, "record", Reason.RECORD_FLOAT, BLOCK, OF_RECORD)
    (letter,) = (await listed(gateway))["letters"]
    assert (letter["id"], letter["kind"], letter["reason"], letter["way"]) == (
        1,
        "record",
        "record_float",
        "fetch_anew",
    )
    assert (letter["did"], letter["rkey"], letter["detail"]) == (DID, "3l3qo2vuowo2b", "as it was said")
    assert letter["size"] == len(BLOCK)
    assert abs(letter["at_us"] - now_us()) < 60_000_000
    whole = (await ask(gateway, "GET", "/1")).json()
    assert base64.b64decode(whole["bytes"]) == BLOCK
    assert whole["format"] == "cbor"
    assert whole["value"] == {"$type": "app.bsky.feed.post", "text": "<b>hostile</b>", "score": 1.5, "x": "nan"}
    file = await ask(gateway, "GET", "/1/bytes")
    assert (file.content, file.headers["content-type"]) == (BLOCK, "application/octet-stream")
    assert file.headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize(
    "payload",
    [
        b"\x9b" + b"\xff" * 8,
        b"\x81" * 20_000 + b"\x01",
        b"[" * 50_000 + b"]" * 50_000,
        b"\xd9\xff\xff" * 10_000,
        b"\xc2\x58\x20" + b"\xff" * 32,
        b'{"a":' * 400 + b"1" + b"}" * 400,
        b"\xff",
        b"\xa1\x81\x01\x02",
        bytes(range(256)) * 100,
    ],
)
async def test_whatever_the_bytes_are_they_are_shown(gateway: RunningGateway, bus: Bystander, payload: bytes) -> None:
    for number, kind in enumerate(("record", "message", "frame"), start=1):
        await keep(bus, kind, Reason.FRAME_MALFORMED, payload, {})
        answer = await ask(gateway, "GET", f"/{number}")
        assert answer.status_code == 200, answer.text
        assert base64.b64decode(answer.json()["bytes"]) == payload


async def test_what_was_too_large_to_be_kept_says_its_size(gateway: RunningGateway, bus: Bystander) -> None:
    await keep(
        bus, "message", Reason.MESSAGE_MALFORMED, b"x" * (KEPT_BYTES + 1), {"Headwater-Subject": "records.live.3"}
    )
    letter = (await ask(gateway, "GET", "/1")).json()
    assert (letter["size"], letter["bytes"], letter["value"]) == (KEPT_BYTES + 1, "", None)
    problem(await ask(gateway, "POST", "/1/retry"), 409, "bytes_not_kept")


async def test_letters_are_paged_by_kind_and_reason(gateway: RunningGateway, bus: Bystander) -> None:
    """Few of one kind among many of another, with holes: every page is whole."""
    for number in range(700):
        rare = number % 100 == 0
        await bus.js.publish("dead.record.rare" if rare else "dead.frame.common", b"", headers={"Headwater-Size": "0"})
    for number in range(200, 300, 2):
        await bus.js.delete_msg(STREAM_DEAD_LETTERS, number)
    for query, wanted in (
        ("kind=record", [601, 501, 401, 301, 201, 101, 1]),
        ("reason=rare", [601, 501, 401, 301, 201, 101, 1]),
        ("kind=frame", [n for n in range(700, 0, -1) if n % 100 != 1 and not (200 <= n < 300 and n % 2 == 0)]),
        ("kind=frame&reason=rare", []),
    ):
        found: list[int] = []
        following = ""
        while True:
            page = await listed(
                gateway, f"?{query}&limit=3{following}" if "rare" in query else f"?{query}&limit=150{following}"
            )
            found += [letter["id"] for letter in page["letters"]]
            if page["next"] is None:
                break
            following = f"&before={page['next']}"
        assert found == wanted, query
    counts = {(one["kind"], one["reason"]): one["letters"] for one in page["counts"]}
    assert counts == {("record", "rare"): 7, ("frame", "common"): 643}
    assert page["last_id"] == 700


async def test_a_letter_that_is_none_is_404_and_nonsense_is_422(gateway: RunningGateway, bus: Bystander) -> None:
    for method, path in (("GET", "/7"), ("GET", "/7/bytes"), ("POST", "/7/retry"), ("DELETE", "/7")):
        problem(await ask(gateway, method, path), 404, "no_such_letter")
    for path in ("/0", "/-1", "/x", f"/{1 << 60}", "/1.5"):
        problem(await ask(gateway, "GET", path), 422, "invalid_input")
    for query in ("?kind=a.b", "?kind=>", "?reason=*", "?kind=", "?limit=0", "?limit=1000", "?before=0", "?before=x"):
        problem(await ask(gateway, "GET", query), 422, "invalid_input")
    for query in ("", "?kind=record", "?kind=record&reason=record_float", "?kind=*&reason=*&up_to=9"):
        problem(await ask(gateway, "DELETE", query), 422, "invalid_input")


async def test_letters_are_dropped_one_by_one_or_all_that_were_seen(gateway: RunningGateway, bus: Bystander) -> None:
    for _ in range(5):
        await keep(bus, "record", Reason.RECORD_FLOAT, BLOCK, OF_RECORD)
    await keep(bus, "record", Reason.RECORD_CBOR, BLOCK, OF_RECORD)
    assert (await ask(gateway, "DELETE", "/2")).status_code == 204
    problem(await ask(gateway, "DELETE", "/2"), 404, "no_such_letter")
    seen = (await listed(gateway))["last_id"]
    await keep(bus, "record", Reason.RECORD_FLOAT, BLOCK, OF_RECORD)
    dropped = await ask(gateway, "DELETE", f"?kind=record&reason=record_float&up_to={seen}")
    assert dropped.json() == {"dropped": 4}
    assert [(one["id"], one["reason"]) for one in (await listed(gateway))["letters"]] == [
        (7, "record_float"),
        (6, "record_cbor"),
    ]


async def test_a_message_goes_back_to_its_subject(gateway: RunningGateway, bus: Bystander) -> None:
    subject = backfill_subject(DID)
    await keep(bus, "message", Reason.MESSAGE_MALFORMED, b"its bytes", {"Headwater-Subject": subject})
    answer = await ask(gateway, "POST", "/1/retry")
    assert answer.status_code == 202, answer.text
    assert answer.json() == {"id": 1, "way": "republish", "job_id": None}
    message = await bus.js.get_last_msg(STREAM_BACKFILL, subject)
    assert message.data == b"its bytes"
    assert (await listed(gateway))["letters"] == []


@pytest.mark.parametrize(
    "subject",
    [
        "$JS.API.STREAM.PURGE.REQUESTS",
        "requests.user.>",
        "dead.a.b",
        "records.live.*",
        "$KV.control.x",
        "x",
    ],
)
async def test_a_message_goes_nowhere_else(gateway: RunningGateway, bus: Bystander, subject: str) -> None:
    await keep(bus, "message", Reason.MESSAGE_MALFORMED, b"x", {"Headwater-Subject": subject})
    problem(await ask(gateway, "POST", "/1/retry"), 409, "nothing_to_retry")
    assert len((await listed(gateway))["letters"]) == 1


async def test_a_request_that_waits_already_keeps_its_letter(gateway: RunningGateway, bus: Bystander) -> None:
    subject = request_subject(RequestLane.USER, DID)
    await bus.js.publish(subject, b"another", stream=STREAM_REQUESTS)
    await keep(bus, "message", Reason.MESSAGE_MALFORMED, b"{}", {"Headwater-Subject": subject})
    problem(await ask(gateway, "POST", "/1/retry"), 409, "job_running")
    assert len((await listed(gateway))["letters"]) == 1


class Indexer:
    """Stands for the indexer: queues what it is asked to, as the real one does."""

    def __init__(self, bus: Bystander, *, anew: bool = True) -> None:
        self.bus = bus
        self.request = BackfillRequest(
            job_id="0006512bd5c1a0a1b2c3d4e5f7",
            did=DID,
            lane=RequestLane.RESYNC,
            days=0,
            cutoff_us=None,
            requested_at_us=now_us(),
            requested_by="operator",
            actor=DID,
            anew=anew,
        )
        self.waits = False
        self.asked: list[str] = []

    async def start(self) -> None:
        await self.bus.client.subscribe(FETCH_ANEW, cb=self._answer)
        await round_trip(self.bus.client)

    async def _answer(self, message: Msg) -> None:
        self.asked.append(AccountQuery.model_validate_json(message.data).did)
        answer = FetchAnewAsked(request=None if self.waits else self.request)
        if not self.waits:
            payload = self.request.model_dump_json().encode()
            await self.bus.js.publish(request_subject(RequestLane.RESYNC, DID), payload, stream=STREAM_REQUESTS)
            self.waits = True
        await message.respond(answer.model_dump_json().encode())


async def test_of_a_record_or_frame_the_repo_is_fetched_anew(gateway: RunningGateway, bus: Bystander) -> None:
    indexer = Indexer(bus)
    await indexer.start()
    body = cbor2.dumps({"t": "#commit", "op": 1}, canonical=True) + cbor2.dumps(
        {"repo": DID, "seq": "x"}, canonical=True
    )
    await keep(bus, "record", Reason.RECORD_FLOAT, BLOCK, OF_RECORD)
    await keep(bus, "frame", Reason.FRAME_FIELD, body, {"Headwater-Relay": "wss://relay.test"})
    for number in (1, 2):
        answer = await ask(gateway, "POST", f"/{number}/retry")
        assert answer.status_code == 202, answer.text
        wanted = {"id": number, "way": "fetch_anew", "job_id": indexer.request.job_id}
        assert answer.json() == wanted, "both by one job, which has not ended"
    assert indexer.asked == [DID, DID]
    job = await gateway.client.get(f"/api/admin/jobs/{indexer.request.job_id}", headers=gateway.operator)
    assert (job.json()["state"], job.json()["lane"]) == ("queued", "resync")
    assert (await listed(gateway))["letters"] == []


async def test_a_resync_that_might_skip_it_has_to_end_first(gateway: RunningGateway, bus: Bystander) -> None:
    indexer = Indexer(bus, anew=False)
    await indexer.start()
    await keep(bus, "record", Reason.RECORD_FLOAT, BLOCK, OF_RECORD)
    assert (await ask(gateway, "POST", "/1/retry")).status_code == 202
    await keep(bus, "record", Reason.RECORD_FLOAT, BLOCK, OF_RECORD)
    assert problem(await ask(gateway, "POST", "/2/retry"), 409, "job_running")["job_id"] == indexer.request.job_id


async def test_what_names_nobody_cannot_be_retried(gateway: RunningGateway, bus: Bystander) -> None:
    for headers, payload in (
        ({}, b"\xff"),
        ({"Headwater-Did": "nobody"}, b"x"),
        ({"Headwater-Did": "did:plc:a b"}, b""),
    ):
        await keep(bus, "frame", Reason.FRAME_MALFORMED, payload, headers)
    for number in (1, 2, 3):
        assert (await ask(gateway, "GET", f"/{number}")).json()["way"] is None
        problem(await ask(gateway, "POST", f"/{number}/retry"), 409, "nothing_to_retry")


async def test_without_an_indexer_the_letter_stays(gateway: RunningGateway, bus: Bystander) -> None:
    await keep(bus, "record", Reason.RECORD_FLOAT, BLOCK, OF_RECORD)
    problem(await ask(gateway, "POST", "/1/retry"), 503, "unavailable")
    assert len((await listed(gateway))["letters"]) == 1
