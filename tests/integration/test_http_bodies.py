"""The guarded client against bodies that never end, never come, or are not what they say."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from headwater.errors import Reason
from headwater.http import Answer, GuardedHttp
from misbehaving import MIB, answering, failure, fetch, refusal, serving, serving_raw

# --- Bodies


@pytest.mark.parametrize("path", ["get", "stream"])
async def test_endless_bodies_end_at_the_limit(http: GuardedHttp, path: str) -> None:
    sent = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(OSError):
            while sent < 64 * MIB:
                await response.write(b"x" * 65536)
                sent += 65536
        return response

    async with serving(handler) as origin:
        if path == "get":
            assert await refusal(http.get_json(origin)) is Reason.RESPONSE_MALFORMED
        else:
            assert await refusal(fetch(http, origin)) is Reason.CAR_TOO_LARGE
    assert sent < 64 * MIB


async def test_a_declared_size_above_the_limit_is_not_read(http: GuardedHttp) -> None:
    async with serving_raw(answering(b"HTTP/1.1 200 OK\nContent-Length: 99999999999")) as (port, _):
        assert await refusal(fetch(http, f"http://127.0.0.1:{port}/")) is Reason.CAR_TOO_LARGE


async def test_gzip_bomb_ends_at_the_limit(http: GuardedHttp) -> None:
    bomb = gzip.compress(b"\0" * (64 * MIB))
    seen = 0

    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})

    async def consume(chunks: AsyncIterator[bytes]) -> None:
        nonlocal seen
        async for chunk in chunks:
            seen += len(chunk)

    async with serving(handler) as origin, http.stream(origin, max_bytes=MIB, total_timeout=20) as answer:
        assert await refusal(consume(answer.chunks())) is Reason.CAR_TOO_LARGE
    assert seen <= MIB


# The bodies would name the tests, and gzip writes down the second: two processes of pytest would know other tests.
@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", b"not gzip at all"),
        ("gzip", gzip.compress(b"one") + gzip.compress(b"two")),
        ("gzip", gzip.compress(b"one") + b"rest"),
        ("br", b"\x0b\x02\x80"),
        ("gzip, gzip", gzip.compress(gzip.compress(b"nested"))),
    ],
    ids=["none", "two members", "bytes behind", "brotli", "nested"],
)
async def test_broken_compression_is_malformed(http: GuardedHttp, encoding: str, body: bytes) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=body, headers={"Content-Encoding": encoding})

    async with serving(handler) as origin:
        assert await refusal(fetch(http, origin)) is Reason.RESPONSE_MALFORMED


async def test_truncated_compression_is_transient(http: GuardedHttp) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=gzip.compress(bytes(range(256)) * 50)[:-20], headers={"Content-Encoding": "gzip"})

    async with serving(handler) as origin:
        await failure(fetch(http, origin))


async def _slow(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    with contextlib.suppress(OSError):
        for _ in range(2000):
            await response.write(b"x")
            await asyncio.sleep(0.01)
    return response


async def test_trickles_are_cut_off(http: GuardedHttp) -> None:
    async with serving(_slow) as origin:
        error = await failure(fetch(http, origin, min_rate=1000, rate_window=0.2))
    assert "too slow" in error.detail


async def test_a_slow_start_does_not_excuse_a_trickle_and_speed_does_not_last(http: GuardedHttp) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"x" * 500_000)
        with contextlib.suppress(OSError):
            for _ in range(2000):
                await response.write(b"x")
                await asyncio.sleep(0.01)
        return response

    async with serving(handler) as origin:
        error = await failure(fetch(http, origin, min_rate=1000, rate_window=0.1))
    assert "too slow" in error.detail


async def test_silence_is_cut_off(http: GuardedHttp) -> None:
    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
        await writer.drain()
        await asyncio.sleep(20)

    async with serving_raw(silent) as (port, _):
        error = await failure(fetch(http, f"http://127.0.0.1:{port}/", idle_timeout=0.1))
    assert "idle" in error.detail


async def test_no_answer_at_all_is_transient(http: GuardedHttp) -> None:
    async def mute(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving_raw(mute) as (port, _):
        await failure(http.get(f"http://127.0.0.1:{port}/", total_timeout=0.1))


async def test_total_time_is_bounded(http: GuardedHttp) -> None:
    async with serving(_slow) as origin:
        error = await failure(fetch(http, origin, total_timeout=1.0, min_rate=0))
    assert "total time" in error.detail


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\nContent-Length: 100",
        b"HTTP/1.1 200 OK\nTransfer-Encoding: chunked",
        b"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nContent-Length: 5",
        b"HTTP/1.1 200 OK\nContent-Length: nine",
        b"HTTP/1.1 200 OK\n" + b"X-Fill: " + b"x" * 100_000,
        b"HTTP/1.1 200 OK\n" + b"\n".join(b"X-%d: x" % n for n in range(10_000)),
        b"SSH-2.0-OpenSSH_9.9",
        b"",
    ],
)
async def test_truncated_and_malformed_responses_are_transient(http: GuardedHttp, head: bytes) -> None:
    async with serving_raw(answering(head, b"12345")) as (port, _):
        await failure(fetch(http, f"http://127.0.0.1:{port}/"))


async def test_reset_in_the_middle_is_transient(http: GuardedHttp) -> None:
    async def resetting(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n12345")
        await writer.drain()
        writer.transport.abort()

    async with serving_raw(resetting) as (port, _):
        await failure(fetch(http, f"http://127.0.0.1:{port}/"))


async def test_refused_connection_is_transient(http: GuardedHttp) -> None:
    async with serving_raw(answering(b"")) as (port, _):
        pass
    await failure(fetch(http, f"http://127.0.0.1:{port}/"))


@pytest.mark.parametrize("body", [b"", b"<html>", b"{", b"[" * 100_000, b'"\xff"', b'"\\ud800"', b"NaN"])
async def test_bogus_json_is_malformed(http: GuardedHttp, body: bytes) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    async with serving(handler) as origin:
        assert await refusal(http.get_json(origin)) is Reason.RESPONSE_MALFORMED


async def test_oversized_json_is_malformed(http: GuardedHttp) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response(["x" * 2000])

    async with serving(handler) as origin:
        assert await refusal(http.get_json(origin, max_bytes=1000)) is Reason.RESPONSE_MALFORMED
        assert isinstance(await http.get(origin, max_bytes=3000), Answer)
