"""The guarded HTTP client: every request and websocket of Headwater's to a host that a stranger named.

Threats and their answers: private targets (the URL, each redirect and each resolved address are checked, and
the address that was checked is the one dialled), endless, slow, silent, truncated or inflating bodies
(`headwater.http_body`), and floods of redirects or headers. Nothing of aiohttp's errors gets out:
InvalidInputError says that the host is wrong, TransientError that it may go well later.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple, Self

import aiohttp
import orjson
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from headwater.dns_lookup import DnsLookup, NameLookup, system_addresses
from headwater.egress import EgressPolicy
from headwater.errors import InvalidInputError, Reason, TransientError
from headwater.http_body import NETWORK_ERRORS, BodyLimits, read_chunks
from headwater.http_messages import MessageStream
from headwater.rate_limit import RateLimit, parse_rate_limit, parse_retry_after

DEFAULT_USER_AGENT = "headwater (AT Protocol backfill)"

_log = logging.getLogger(__name__)

_MAX_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TRANSIENT = frozenset({408, 425, 429})
_DNS_CACHE_SECONDS = 60
_HEADERS_TIMEOUT = 30.0
_ERROR_BODY = 16 * 1024
_CLOSE_TIMEOUT = 2.0
_JSON = "application/json, */*"


class _Request(NamedTuple):
    """What is asked beside the URL: a GET, or a POST where there is a form."""

    headers: Mapping[str, str]
    form: Mapping[str, str] | None = None
    redirects: int = _MAX_REDIRECTS


class Answer(NamedTuple):
    """A complete response: any status but 408, 425, 429 and 5xx. Header names are case-insensitive."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class JsonAnswer(NamedTuple):
    """A complete response with its JSON; ``value`` is None when an error status came without JSON."""

    status: int
    headers: Mapping[str, str]
    value: object


class StreamedAnswer:
    """A response whose body is still to be read, once."""

    def __init__(self, response: aiohttp.ClientResponse, limits: BodyLimits, deadline: float) -> None:
        self._response = response
        self._limits = limits
        self._deadline = deadline

    @property
    def status(self) -> int:
        """The HTTP status: any but 408, 425, 429 and 5xx."""
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        """Response headers; names are case-insensitive."""
        return self._response.headers

    @property
    def rate_limit(self) -> RateLimit | None:
        """What the server says about its limits."""
        return parse_rate_limit(self.headers)

    def chunks(self) -> AsyncIterator[bytes]:
        """The decompressed body in chunks of about 64 to 256 KiB; errors as in `read_chunks`."""
        return read_chunks(self._response, self._limits, self._deadline)

    async def read(self) -> bytes:
        """The whole decompressed body; errors as in `read_chunks`."""
        return b"".join([chunk async for chunk in self.chunks()])

    async def read_error(self) -> object:
        """The JSON of an error response (XRPC: error and message), or None when it has none within 16 KiB."""
        body = bytearray()
        try:
            async for chunk in self.chunks():
                body += chunk
                if len(body) > _ERROR_BODY:
                    return None
            value: object = orjson.loads(body)
        except (InvalidInputError, orjson.JSONDecodeError):
            return None
        return value


class GuardedResolver(AbstractResolver):
    """The addresses that aiohttp dials: only those that the policy allows.

    aiohttp asks here for every name and connects to what comes back, so no second lookup can differ from
    the one that was checked. IP literals do not come here; `EgressPolicy.check_url` has seen them.
    """

    def __init__(self, policy: EgressPolicy, lookup: NameLookup) -> None:
        self._policy = policy
        self._lookup = lookup

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Allowed addresses of a host. Raises InvalidInputError(HOST_FORBIDDEN) when it has no other ones."""
        if self._policy.trusts(host, port):
            addresses = await system_addresses(host, port)
            return [_resolved(host, port, address) for address in addresses]
        if self._policy.private_addresses:
            addresses = await system_addresses(host, port)
        else:
            addresses = await self._lookup.addresses(host)
        allowed = [address for address in addresses if self._policy.allows_address(address)]
        if not allowed:
            raise InvalidInputError(Reason.HOST_FORBIDDEN, f"{host} has no public address")
        return [_resolved(host, port, address) for address in allowed]

    async def close(self) -> None:
        """Nothing is held open."""


class GuardedHttp:
    """Requests within an egress policy: GET, POST of forms, websockets. An async context manager; one for a process.

    ``max_connections`` bounds sockets; limits per host are the caller's. The trust store for TLS is
    OpenSSL's (SSL_CERT_FILE adds to it, RFC 5280 names are checked).
    """

    def __init__(
        self,
        policy: EgressPolicy,
        *,
        user_agent: str = DEFAULT_USER_AGENT,
        lookup: NameLookup | None = None,
        max_connections: int = 256,
        connect_timeout: float = 10.0,
    ) -> None:
        self.policy = policy
        self._user_agent = user_agent
        self._lookup = lookup or DnsLookup()
        self._max_connections = max_connections
        self._connect_timeout = connect_timeout
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the connection pool."""
        if self.policy.private_addresses:
            _log.warning("private hosts are allowed: a setting for development, not for production")
        connector = aiohttp.TCPConnector(
            resolver=GuardedResolver(self.policy, self._lookup),
            ttl_dns_cache=_DNS_CACHE_SECONDS,
            limit=self._max_connections,
            ssl=ssl.create_default_context(),
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": self._user_agent},
            # Every wait has a deadline of ours, so that what counts as slow is decided in one place.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout),
            read_bufsize=128 * 1024,
            middlewares=(self._check_hop,),
            trust_env=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(
        self, url: str, *, max_bytes: int = 256 * 1024, total_timeout: float = 10.0, redirects: int = _MAX_REDIRECTS
    ) -> Answer:
        """A whole response; ``total_timeout`` in seconds covers everything. Errors as in `stream`.

        A body above ``max_bytes`` is InvalidInputError(RESPONSE_MALFORMED).
        """
        request = _Request({"Accept": _JSON}, redirects=redirects)
        async with self._open(url, _whole(max_bytes, total_timeout), request) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def get_json(
        self, url: str, *, max_bytes: int = 256 * 1024, total_timeout: float = 10.0, redirects: int = _MAX_REDIRECTS
    ) -> JsonAnswer:
        """A whole response as JSON. Errors as in `get`; a success that is not JSON is RESPONSE_MALFORMED."""
        answer = await self.get(url, max_bytes=max_bytes, total_timeout=total_timeout, redirects=redirects)
        return _as_json(url, answer)

    async def post_form(
        self,
        url: str,
        form: Mapping[str, str],
        headers: Mapping[str, str],
        *,
        max_bytes: int = 256 * 1024,
        total_timeout: float = 10.0,
    ) -> JsonAnswer:
        """POST a form; the whole response as JSON, None where it is empty. A form holds secrets, so no redirect is
        followed. Errors as in `get_json`.
        """
        request = _Request({"Accept": _JSON, **headers}, form, redirects=0)
        async with self._open(url, _whole(max_bytes, total_timeout), request) as answer:
            body = await answer.read()
            return _as_json(url, Answer(answer.status, answer.headers, body or b"null"))

    @asynccontextmanager
    async def stream(
        self,
        url: str,
        *,
        max_bytes: int,
        total_timeout: float,
        idle_timeout: float = 30.0,
        min_rate: float = 1024.0,
        rate_window: float = 30.0,
        accept: str = "application/vnd.ipld.car",
    ) -> AsyncIterator[StreamedAnswer]:
        """A response to be read in chunks; leaving the context closes it. Units: bytes, seconds, bytes/s.

        Raises InvalidInputError: HOST_FORBIDDEN (the policy, or a redirect that it does not allow),
        RESPONSE_MALFORMED (compression), CAR_TOO_LARGE (more than ``max_bytes``, decompressed or not).
        Raises TransientError for network errors, truncation, slowness, 408, 425, 429 and 5xx, with
        ``retry_after`` when the server named a time. Other statuses are the caller's to judge.
        """
        limits = BodyLimits(max_bytes, total_timeout, idle_timeout, min_rate, rate_window)
        async with self._open(url, limits, _Request({"Accept": accept})) as answer:
            yield answer

    @asynccontextmanager
    async def messages(self, url: str, *, max_message: int, idle_timeout: float) -> AsyncIterator[MessageStream]:
        """The messages of a websocket; ``url`` is its https (or, where allowed, http) URL. Leaving closes it.

        A message of more than ``max_message`` bytes ends the connection. Raises InvalidInputError(HOST_FORBIDDEN),
        and TransientError when there is no connection, also for an answer that is no upgrade.
        """
        target = self.policy.check_url(url)
        host = str(target.raw_host)
        try:
            async with asyncio.timeout(_HEADERS_TIMEOUT):
                socket = await self._opened().ws_connect(
                    target,
                    autoping=False,
                    max_msg_size=max_message,
                    timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_TIMEOUT),
                )
        except NETWORK_ERRORS as error:
            status = f" {error.status}" if isinstance(error, aiohttp.WSServerHandshakeError) else ""
            raise TransientError(f"{host}: {type(error).__name__}{status}") from error
        try:
            yield MessageStream(socket, host, idle_timeout)
        finally:
            # What is still on its way is of no use; waiting for it would be reading without a bound.
            with suppress(*NETWORK_ERRORS):
                await socket.close()

    @asynccontextmanager
    async def _open(self, url: str, limits: BodyLimits, request: _Request) -> AsyncIterator[StreamedAnswer]:
        deadline = asyncio.get_running_loop().time() + limits.total_timeout
        response = await self._follow(self.policy.check_url(url), request, deadline)
        try:
            _raise_transient(response)
            yield StreamedAnswer(response, limits, deadline)
        finally:
            # Not release(): what is left of an endless body must not be drained into the pool.
            response.close()

    async def _follow(self, url: URL, request: _Request, deadline: float) -> aiohttp.ClientResponse:
        for _ in range(request.redirects + 1):
            response = await self._request(url, request, deadline)
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or location is None:
                return response
            response.close()
            url = self.policy.check_redirect(url, location)
        raise InvalidInputError(Reason.HOST_FORBIDDEN, f"more than {request.redirects} redirects from {url.raw_host}")

    async def _request(self, url: URL, request: _Request, deadline: float) -> aiohttp.ClientResponse:
        session = self._opened()
        method = "GET" if request.form is None else "POST"
        headers = {**request.headers, "Accept-Encoding": "identity"}
        by = min(deadline, asyncio.get_running_loop().time() + _HEADERS_TIMEOUT)
        try:
            async with asyncio.timeout_at(by):
                return await session.request(method, url, headers=headers, data=request.form, allow_redirects=False)
        except NETWORK_ERRORS as error:
            raise TransientError(f"{url.raw_host}: {type(error).__name__}") from error

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("GuardedHttp is not open")
        return self._session

    async def _check_hop(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        # aiohttp follows redirects of websocket handshakes by itself.
        self.policy.check_url(request.url)
        return await handler(request)


def _whole(max_bytes: int, total_timeout: float) -> BodyLimits:
    return BodyLimits(max_bytes, total_timeout, total_timeout, min_rate=0, too_large=Reason.RESPONSE_MALFORMED)


def _as_json(url: str, answer: Answer) -> JsonAnswer:
    try:
        return JsonAnswer(answer.status, answer.headers, orjson.loads(answer.body))
    except orjson.JSONDecodeError as error:
        if answer.status >= 300:
            return JsonAnswer(answer.status, answer.headers, None)
        raise InvalidInputError(Reason.RESPONSE_MALFORMED, f"no JSON from {URL(url).raw_host}") from error


def _raise_transient(response: aiohttp.ClientResponse) -> None:
    if response.status in _TRANSIENT or response.status >= 500:
        retry_after = parse_retry_after(response.headers)
        raise TransientError(f"{response.url.raw_host}: status {response.status}", retry_after=retry_after)


def _resolved(host: str, port: int, address: str) -> ResolveResult:
    return ResolveResult(
        hostname=host,
        host=address,
        port=port,
        family=socket.AF_INET6 if ":" in address else socket.AF_INET,
        proto=0,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )
