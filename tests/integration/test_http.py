"""The guarded client: what it reaches, what it refuses to reach, and when it says to come again."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from aiohttp import web

from headwater.egress import EgressPolicy, egress_policy
from headwater.errors import Reason
from headwater.http import GuardedHttp
from headwater.rate_limit import RateLimit
from misbehaving import MIB, answering, failure, fetch, refusal, serving, serving_raw

# --- What goes well


async def test_stream_yields_the_body_in_bounded_chunks(http: GuardedHttp) -> None:
    body = bytes(range(256)) * 12_000

    async def handler(request: web.Request) -> web.Response:
        assert request.headers["Accept-Encoding"] == "identity"
        assert request.headers["User-Agent"] == "headwater-test"
        assert request.headers["Accept"] == "application/vnd.ipld.car"
        limits = {"RateLimit-Limit": "3000", "RateLimit-Remaining": "2999", "RateLimit-Reset": "300"}
        return web.Response(body=body, headers=limits)

    async with serving(handler) as origin, http.stream(f"{origin}/x", max_bytes=4 * MIB, total_timeout=20) as answer:
        assert answer.status == 200
        assert answer.rate_limit == RateLimit(3000, 2999, 300.0)
        chunks = [chunk async for chunk in answer.chunks()]
    assert b"".join(chunks) == body
    assert all(64 * 1024 <= len(chunk) <= 512 * 1024 for chunk in chunks[:-1])


async def test_connections_are_kept_and_reused_after_complete_bodies(http: GuardedHttp) -> None:
    peers = set()

    async def handler(request: web.Request) -> web.Response:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return web.json_response({"n": 1})

    async with serving(handler) as origin:
        for _ in range(5):
            assert (await http.get_json(f"{origin}/x")).value == {"n": 1}
    assert len(peers) == 1


async def test_error_statuses_are_answers_with_their_json(http: GuardedHttp) -> None:
    async def handler(request: web.Request) -> web.Response:
        if request.path == "/html":
            return web.Response(status=404, text="<html>", content_type="text/html")
        return web.json_response({"error": "RepoNotFound"}, status=400)

    async with serving(handler) as origin:
        status, _, value = await http.get_json(f"{origin}/json")
        assert (status, value) == (400, {"error": "RepoNotFound"})
        assert (await http.get_json(f"{origin}/html"))[::2] == (404, None)
        async with http.stream(f"{origin}/json", max_bytes=MIB, total_timeout=5) as answer:
            assert (answer.status, await answer.read_error()) == (400, {"error": "RepoNotFound"})
        async with http.stream(f"{origin}/html", max_bytes=MIB, total_timeout=5) as answer:
            assert (answer.status, await answer.read_error()) == (404, None)


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_unasked_compression_is_undone(
    http: GuardedHttp, encoding: str, compress: Callable[[bytes], bytes]
) -> None:
    body = json.dumps(list(range(100_000))).encode()

    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=compress(body), headers={"Content-Encoding": encoding})

    async with serving(handler) as origin:
        assert await fetch(http, origin) == body


# --- Where we may connect


class Rebinding:
    """Names that resolve to the next address of a list at every lookup."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)

    async def addresses(self, _: str) -> list[str]:
        return self.answers.pop(0)

    async def txt(self, _: str) -> list[str]:
        return []


def any_port_policy() -> EgressPolicy:
    """The production rules for addresses, with http and every port, so that loopback servers can be named."""
    return EgressPolicy(schemes=frozenset({"http"}), ports=frozenset(range(1, 65536)))


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["::1", "127.0.0.1", "10.0.0.1"], ["::ffff:127.0.0.1"], ["0.0.0.0"]]
)
async def test_a_name_of_a_private_address_is_refused_before_a_connection(addresses: list[str]) -> None:
    async with serving_raw(answering(b"HTTP/1.1 200 OK")) as (port, heads):
        async with GuardedHttp(any_port_policy(), lookup=Rebinding(addresses)) as http:
            assert await refusal(fetch(http, f"http://rebind.example:{port}/")) is Reason.HOST_FORBIDDEN
        assert heads == []


class OneAddressPolicy(EgressPolicy):
    """Takes 127.0.0.1 for the one public address, so that a test can be reached at it."""

    def allows_address(self, address: str) -> bool:
        return address == "127.0.0.1"


async def test_the_address_that_was_checked_is_the_one_dialled_and_the_next_is_checked_anew() -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(text="reached")

    policy = OneAddressPolicy(schemes=frozenset({"http"}), ports=frozenset(range(1, 65536)))
    lookup = Rebinding(["127.0.0.2", "127.0.0.1"], ["127.0.0.2"])
    async with serving(handler) as origin:
        url = origin.replace("127.0.0.1", "rebind.example")
        async with GuardedHttp(policy, lookup=lookup) as http:
            assert (await http.get(url)).body == b"reached"
            assert lookup.answers == [["127.0.0.2"]]
        async with GuardedHttp(policy, lookup=lookup) as http:
            assert await refusal(http.get(url)) is Reason.HOST_FORBIDDEN
    assert lookup.answers == []


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "[::ffff:127.0.0.1]", "[::1]", "127。0。0。1"],
)
async def test_spellings_of_loopback_are_refused_before_a_connection(host: str) -> None:
    async with serving_raw(answering(b"HTTP/1.1 200 OK")) as (port, heads):
        async with GuardedHttp(any_port_policy(), lookup=Rebinding()) as http:
            assert await refusal(fetch(http, f"http://{host}:{port}/")) is Reason.HOST_FORBIDDEN
        assert heads == []


async def test_production_policy_refuses_http_and_odd_ports() -> None:
    async with serving_raw(answering(b"HTTP/1.1 200 OK")) as (port, heads):
        async with GuardedHttp(egress_policy(), lookup=Rebinding()) as http:
            assert await refusal(fetch(http, f"https://pds.example.com:{port}/")) is Reason.HOST_FORBIDDEN
            assert await refusal(fetch(http, "http://pds.example.com/")) is Reason.HOST_FORBIDDEN
        assert heads == []


async def test_the_operators_own_origin_is_reached_without_the_development_setting() -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response({"id": "plc"})

    async with serving(handler) as origin:
        named = origin.replace("127.0.0.1", "localhost")
        policy = egress_policy(trusted_origins=[origin, named])
        async with GuardedHttp(policy, lookup=Rebinding()) as http:
            assert (await http.get_json(f"{origin}/did:plc:abc")).value == {"id": "plc"}
            assert (await http.get_json(f"{named}/did:plc:abc")).value == {"id": "plc"}


async def test_same_host_redirects_are_followed_three_times(http: GuardedHttp) -> None:
    async def handler(request: web.Request) -> web.Response:
        left = int(request.match_info["path"])
        return web.Response(status=302, headers={"Location": f"/{left - 1}"}) if left else web.Response(text="end")

    async with serving(handler) as origin:
        assert (await http.get(f"{origin}/3")).body == b"end"
        assert await refusal(http.get(f"{origin}/4")) is Reason.HOST_FORBIDDEN


@pytest.mark.parametrize(
    "target", ["http://localhost:{port}/", "http://169.254.169.254/", "file:///etc/passwd", "http://["]
)
async def test_redirects_elsewhere_are_refused_before_a_connection(http: GuardedHttp, target: str) -> None:
    async with serving_raw(answering(b"HTTP/1.1 200 OK")) as (port, heads):

        async def handler(_: web.Request) -> web.Response:
            return web.Response(status=302, headers={"Location": target.format(port=port)})

        async with serving(handler) as origin:
            assert await refusal(http.get(origin)) is Reason.HOST_FORBIDDEN
        assert heads == []


# --- Statuses to retry


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
async def test_transient_statuses(http: GuardedHttp, status: int) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=status)

    async with serving(handler) as origin:
        assert (await failure(http.get_json(origin))).retry_after is None
        assert (await failure(fetch(http, origin))).retry_after is None


async def test_retry_after_is_passed_on(http: GuardedHttp) -> None:
    async def handler(request: web.Request) -> web.Response:
        later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
        headers = {
            "seconds": {"Retry-After": "7"},
            "date": {"Retry-After": later},
            "reset": {"RateLimit-Reset": str(int(datetime.now(UTC).timestamp()) + 100)},
            "nonsense": {"Retry-After": "whenever"},
        }[request.match_info["path"]]
        return web.Response(status=429, headers=headers)

    async with serving(handler) as origin:
        assert (await failure(http.get(f"{origin}/seconds"))).retry_after == 7.0
        assert 80 < ((await failure(http.get(f"{origin}/date"))).retry_after or 0) <= 101
        assert 80 < ((await failure(http.get(f"{origin}/reset"))).retry_after or 0) <= 101
        assert (await failure(http.get(f"{origin}/nonsense"))).retry_after is None


@pytest.mark.parametrize("allowed", [True, False])
async def test_that_private_hosts_are_allowed_is_said(caplog: pytest.LogCaptureFixture, allowed: bool) -> None:
    async with GuardedHttp(egress_policy(allow_private_hosts=allowed)):
        said = [record.levelname for record in caplog.records if "private hosts are allowed" in record.getMessage()]
    assert said == ["WARNING"] * allowed
