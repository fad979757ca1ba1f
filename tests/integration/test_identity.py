"""Identity resolution against a PLC directory, hosts and an entryway on loopback."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from headwater.egress import egress_policy
from headwater.errors import InvalidInputError, Reason, TransientError
from headwater.http import Answer, GuardedHttp
from headwater.identity import IdentityResolver
from waiting import until

ALICE = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
BOB = "did:plc:ragtjsm2j2vknwkz3zp4oxrd"
KEY = "zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme"


def document(did: str, handle: str) -> dict[str, object]:
    return {
        "id": did,
        "alsoKnownAs": [f"at://{handle}"],
        "verificationMethod": [
            {"id": f"{did}#atproto", "type": "Multikey", "controller": did, "publicKeyMultibase": KEY}
        ],
        "service": [
            {"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": "https://pds.example.com"}
        ],
    }


class Internet:
    """What the tests' servers answer, by path (``/host/path`` for https hosts), and how often they were asked."""

    def __init__(self) -> None:
        self.answers: dict[str, web.Response | Callable[[], web.Response]] = {}
        self.asked: Counter[str] = Counter()
        self.txt_records: dict[str, list[str] | TransientError] = {}
        self.gate = asyncio.Event()
        self.gate.set()

    async def handle(self, request: web.Request) -> web.Response:
        self.asked[request.path_qs] += 1
        answer = self.answers.get(request.path_qs)
        await self.gate.wait()
        if answer is None:
            return web.json_response({"error": "NotFound"}, status=404)
        return answer() if callable(answer) else answer

    def says(self, path: str, value: object, status: int = 200) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.answers[path] = lambda: web.Response(body=body, status=status)

    async def addresses(self, host: str) -> list[str]:
        raise TransientError(f"no address for {host}")

    async def txt(self, name: str) -> list[str]:
        self.asked[name] += 1
        records = self.txt_records.get(name, [])
        if isinstance(records, TransientError):
            raise records
        return records


class LoopbackHttp(GuardedHttp):
    """Sends requests for https hosts to the tests' server, which has no certificate for them."""

    origin = ""

    async def get(self, url: str, *, max_bytes: int = 256 * 1024, total_timeout: float = 10.0) -> Answer:
        self.policy.check_url(url)
        here = url.replace("https://", f"{self.origin}/", 1)
        return await super().get(here, max_bytes=max_bytes, total_timeout=total_timeout)


@pytest.fixture
def internet() -> Internet:
    return Internet()


@pytest.fixture
async def origin(internet: Internet) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_get("/{path:.*}", internet.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    internet.gate.set()
    await runner.cleanup()


@pytest.fixture
async def http(origin: str) -> AsyncIterator[GuardedHttp]:
    async with LoopbackHttp(egress_policy(trusted_origins=[origin])) as client:
        client.origin = origin
        yield client


@pytest.fixture
def resolver(http: GuardedHttp, origin: str, internet: Internet) -> IdentityResolver:
    return IdentityResolver(http, f"{origin}/plc/", internet)


async def refusal(attempt: Awaitable[object]) -> Reason:
    with pytest.raises(InvalidInputError) as caught:
        await attempt
    return caught.value.reason


# --- DIDs


async def test_did_plc_comes_from_the_directory_once(resolver: IdentityResolver, internet: Internet) -> None:
    internet.says(f"/plc/{ALICE}", document(ALICE, "alice.example.com"))
    identity = await resolver.resolve_did(ALICE)
    assert (identity.did, identity.handle, identity.pds) == (ALICE, "alice.example.com", "https://pds.example.com")
    assert identity.signing_key is not None
    assert await resolver.resolve_did(ALICE) is identity
    assert internet.asked[f"/plc/{ALICE}"] == 1


async def test_refresh_asks_anew_and_replaces_what_was_cached(resolver: IdentityResolver, internet: Internet) -> None:
    internet.says(f"/plc/{ALICE}", document(ALICE, "old.example.com"))
    await resolver.resolve_did(ALICE)
    internet.says(f"/plc/{ALICE}", document(ALICE, "new.example.com"))
    assert (await resolver.resolve_did(ALICE)).handle == "old.example.com"
    assert (await resolver.resolve_did(ALICE, refresh=True)).handle == "new.example.com"
    assert (await resolver.resolve_did(ALICE)).handle == "new.example.com"


async def test_a_did_that_ceased_to_exist_leaves_the_cache(resolver: IdentityResolver, internet: Internet) -> None:
    internet.says(f"/plc/{ALICE}", document(ALICE, "alice.example.com"))
    await resolver.resolve_did(ALICE)
    internet.says(f"/plc/{ALICE}", {"message": "DID not available"}, status=410)
    assert await refusal(resolver.resolve_did(ALICE, refresh=True)) is Reason.ACCOUNT_DELETED
    assert await refusal(resolver.resolve_did(ALICE)) is Reason.ACCOUNT_DELETED


async def test_cached_identities_expire(http: GuardedHttp, origin: str, internet: Internet) -> None:
    resolver = IdentityResolver(http, f"{origin}/plc", internet, cache_ttl=0)
    internet.says(f"/plc/{ALICE}", document(ALICE, "alice.example.com"))
    await resolver.resolve_did(ALICE)
    await resolver.resolve_did(ALICE)
    assert internet.asked[f"/plc/{ALICE}"] == 2


async def test_concurrent_lookups_of_a_did_are_one(resolver: IdentityResolver, internet: Internet) -> None:
    internet.says(f"/plc/{ALICE}", document(ALICE, "alice.example.com"))
    internet.gate.clear()
    lookups = [asyncio.create_task(resolver.resolve_did(ALICE)) for _ in range(20)]
    await until(lambda: internet.asked)
    lookups[0].cancel()
    internet.gate.set()
    results = await asyncio.gather(*lookups, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert {result.did for result in results[1:] if not isinstance(result, BaseException)} == {ALICE}
    assert not any(isinstance(result, BaseException) for result in results[1:])
    assert internet.asked[f"/plc/{ALICE}"] == 1


async def test_a_failed_lookup_is_shared_and_not_kept(resolver: IdentityResolver, internet: Internet) -> None:
    internet.says(f"/plc/{ALICE}", {}, status=503)
    results = await asyncio.gather(*(resolver.resolve_did(ALICE) for _ in range(5)), return_exceptions=True)
    assert all(isinstance(result, TransientError) for result in results)
    assert internet.asked[f"/plc/{ALICE}"] == 1
    internet.says(f"/plc/{ALICE}", document(ALICE, "alice.example.com"))
    assert (await resolver.resolve_did(ALICE)).did == ALICE


async def test_an_overtaken_lookup_does_not_replace_what_a_refresh_found(
    resolver: IdentityResolver, internet: Internet
) -> None:
    held = internet.gate
    held.clear()
    internet.says(f"/plc/{ALICE}", document(ALICE, "old.example.com"))
    overtaken = asyncio.create_task(resolver.resolve_did(ALICE))
    await until(lambda: internet.asked)
    internet.gate = asyncio.Event()
    internet.gate.set()
    internet.says(f"/plc/{ALICE}", document(ALICE, "new.example.com"))
    assert (await resolver.resolve_did(ALICE, refresh=True)).handle == "new.example.com"
    held.set()
    assert (await overtaken).handle == "old.example.com"
    assert (await resolver.resolve_did(ALICE)).handle == "new.example.com"


@pytest.mark.parametrize("status", [401, 403, 302, 503])
async def test_a_directory_that_turns_us_away_says_nothing_of_a_did(
    resolver: IdentityResolver, internet: Internet, status: int
) -> None:
    internet.says(f"/plc/{ALICE}", {"message": "no"}, status=status)
    with pytest.raises(TransientError):
        await resolver.resolve_did(ALICE)


@pytest.mark.parametrize("status", [400, 404])
async def test_unknown_dids(resolver: IdentityResolver, internet: Internet, status: int) -> None:
    internet.says(f"/plc/{ALICE}", {"message": "no"}, status=status)
    assert await refusal(resolver.resolve_did(ALICE)) is Reason.UNRESOLVABLE


@pytest.mark.parametrize("body", [b"<html>", b"[]", json.dumps(document(BOB, "bob.example.com")).encode()])
async def test_useless_documents(resolver: IdentityResolver, internet: Internet, body: bytes) -> None:
    internet.says(f"/plc/{ALICE}", body)
    assert await refusal(resolver.resolve_did(ALICE)) is Reason.UNRESOLVABLE


async def test_an_endless_document_of_the_directory_is_an_outage(
    resolver: IdentityResolver, internet: Internet
) -> None:
    internet.says(f"/plc/{ALICE}", b" " * 300_000)
    with pytest.raises(TransientError):
        await resolver.resolve_did(ALICE)


async def test_did_web_comes_from_its_host(resolver: IdentityResolver, internet: Internet) -> None:
    did = "did:web:alice.example.com"
    internet.says("/alice.example.com/.well-known/did.json", document(did, "alice.example.com"))
    assert (await resolver.resolve_did(did)).pds == "https://pds.example.com"


@pytest.mark.parametrize("body", [b"<html>", b" " * 300_000])
async def test_did_web_without_a_document(resolver: IdentityResolver, internet: Internet, body: bytes) -> None:
    internet.says("/alice.example.com/.well-known/did.json", body)
    assert await refusal(resolver.resolve_did("did:web:alice.example.com")) is Reason.UNRESOLVABLE
    assert await refusal(resolver.resolve_did("did:web:nobody.example.com")) is Reason.UNRESOLVABLE


@pytest.mark.parametrize(
    ("did", "reason"),
    [
        ("did:web:127.0.0.1", Reason.HOST_FORBIDDEN),
        ("did:web:2130706433", Reason.HOST_FORBIDDEN),
        ("did:web:localhost%3A2583", Reason.UNRESOLVABLE),
        ("did:web:alice.example.com:path", Reason.UNRESOLVABLE),
        ("did:example:alice", Reason.UNRESOLVABLE),
        ("did:plc:short", Reason.UNRESOLVABLE),
        ("did:PLC:x", Reason.SYNTAX),
        ("alice.example.com", Reason.SYNTAX),
        ("", Reason.SYNTAX),
    ],
)
async def test_dids_that_are_refused_without_a_request(
    resolver: IdentityResolver, internet: Internet, did: str, reason: Reason
) -> None:
    assert await refusal(resolver.resolve_did(did)) is reason
    assert not internet.asked


async def test_a_directory_that_the_policy_forbids_is_an_error_at_start(http: GuardedHttp, internet: Internet) -> None:
    with pytest.raises(ValueError, match="egress policy"):
        IdentityResolver(http, "http://plc.internal:2582", internet)
    with pytest.raises(ValueError, match="egress policy"):
        IdentityResolver(http, "https://plc.directory", internet, handle_resolver_url="http://localhost:1")


# --- Handles


async def test_dns_comes_first(resolver: IdentityResolver, internet: Internet) -> None:
    internet.txt_records["_atproto.alice.example.com"] = ["v=spf1 -all", f"did={ALICE}", f"did={ALICE}"]
    internet.says("/alice.example.com/.well-known/atproto-did", BOB.encode())
    assert await resolver.resolve_handle("Alice.Example.com") == ALICE
    assert internet.asked == {"_atproto.alice.example.com": 1}


@pytest.mark.parametrize("records", [[], ["did=not a did"], ["did="], ["other=x"], TransientError("timeout")])
async def test_the_host_is_asked_next(
    resolver: IdentityResolver, internet: Internet, records: list[str] | TransientError
) -> None:
    internet.txt_records["_atproto.alice.example.com"] = records
    internet.says("/alice.example.com/.well-known/atproto-did", f" {ALICE}\r\n".encode())
    assert await resolver.resolve_handle("alice.example.com") == ALICE


async def test_two_dids_in_dns_are_none(resolver: IdentityResolver, internet: Internet) -> None:
    internet.txt_records["_atproto.alice.example.com"] = [f"did={ALICE}", f"did={BOB}"]
    internet.says("/alice.example.com/.well-known/atproto-did", ALICE.encode())
    assert await refusal(resolver.resolve_handle("alice.example.com")) is Reason.UNRESOLVABLE


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff\xfe", b"x" * 20_000, f"{ALICE} {BOB}".encode()])
async def test_a_host_that_names_no_did(resolver: IdentityResolver, internet: Internet, body: bytes) -> None:
    internet.says("/alice.example.com/.well-known/atproto-did", body)
    assert await refusal(resolver.resolve_handle("alice.example.com")) is Reason.UNRESOLVABLE


async def test_an_error_page_names_no_did(resolver: IdentityResolver, internet: Internet) -> None:
    internet.says("/alice.example.com/.well-known/atproto-did", ALICE.encode(), status=404)
    assert await refusal(resolver.resolve_handle("alice.example.com")) is Reason.UNRESOLVABLE


async def test_who_does_not_answer_may_have_known(resolver: IdentityResolver, internet: Internet) -> None:
    internet.txt_records["_atproto.alice.example.com"] = TransientError("timeout")
    with pytest.raises(TransientError, match="timeout"):
        await resolver.resolve_handle("alice.example.com")


@pytest.mark.parametrize("handle", ["alice.test", "alice.localhost", "alice.internal", "db.local", "handle.invalid"])
async def test_reserved_names_are_not_looked_up(resolver: IdentityResolver, internet: Internet, handle: str) -> None:
    assert await refusal(resolver.resolve_handle(handle)) is Reason.UNRESOLVABLE
    assert not internet.asked


async def test_the_operators_resolver_knows_reserved_names(http: GuardedHttp, origin: str, internet: Internet) -> None:
    resolver = IdentityResolver(http, f"{origin}/plc", internet, handle_resolver_url=f"{origin}/pds/")
    path = "/pds/xrpc/com.atproto.identity.resolveHandle?handle="
    internet.says(f"{path}alice.test", {"did": ALICE})
    assert await resolver.resolve_handle("alice.test") == ALICE
    internet.says(f"{path}bob.test", {"error": "InvalidRequest"}, status=400)
    assert await refusal(resolver.resolve_handle("bob.test")) is Reason.UNRESOLVABLE
    internet.says(f"{path}carol.test", b"<html>")
    with pytest.raises(TransientError):
        await resolver.resolve_handle("carol.test")
    for nonsense in (b"[]", b'{"did": 7}', b'{"did": "x"}', b"{}"):
        internet.says(f"{path}dave.test", nonsense)
        assert await refusal(resolver.resolve_handle("dave.test")) is Reason.UNRESOLVABLE
    internet.txt_records["_atproto.erin.example.com"] = [f"did={BOB}"]
    assert await resolver.resolve_handle("erin.example.com") == BOB


# --- Both ways


async def test_verify_handle(resolver: IdentityResolver, internet: Internet) -> None:
    internet.says(f"/plc/{ALICE}", document(ALICE, "alice.example.com"))
    identity = await resolver.resolve_did(ALICE)
    assert not await resolver.verify_handle(identity)
    internet.txt_records["_atproto.alice.example.com"] = [f"did={BOB}"]
    assert not await resolver.verify_handle(identity)
    internet.txt_records["_atproto.alice.example.com"] = [f"did={ALICE}"]
    assert await resolver.verify_handle(identity)
    internet.txt_records["_atproto.alice.example.com"] = TransientError("timeout")
    with pytest.raises(TransientError):
        await resolver.verify_handle(identity)


async def test_an_identity_without_a_handle_is_not_verified(resolver: IdentityResolver, internet: Internet) -> None:
    internet.says(f"/plc/{ALICE}", {"id": ALICE})
    assert not await resolver.verify_handle(await resolver.resolve_did(ALICE))


async def test_resolve_actor(resolver: IdentityResolver, internet: Internet) -> None:
    internet.says(f"/plc/{ALICE}", document(ALICE, "alice.example.com"))
    internet.txt_records["_atproto.alice.example.com"] = [f"did={ALICE}"]
    for actor in (ALICE, "alice.example.com", " @Alice.Example.com\n"):
        assert (await resolver.resolve_actor(actor)).did == ALICE
    for nonsense in ("", "@", "alice", "did:", "https://alice.example.com", "alice.example.com/../x"):
        assert await refusal(resolver.resolve_actor(nonsense)) is Reason.SYNTAX


async def test_a_handle_that_its_did_does_not_claim(resolver: IdentityResolver, internet: Internet) -> None:
    internet.says(f"/plc/{ALICE}", document(ALICE, "alice.example.com"))
    internet.txt_records["_atproto.thief.example.com"] = [f"did={ALICE}"]
    assert await refusal(resolver.resolve_actor("thief.example.com")) is Reason.HANDLE_MISMATCH


async def test_a_handle_newer_than_the_cached_document(resolver: IdentityResolver, internet: Internet) -> None:
    internet.says(f"/plc/{ALICE}", document(ALICE, "old.example.com"))
    await resolver.resolve_did(ALICE)
    internet.says(f"/plc/{ALICE}", document(ALICE, "new.example.com"))
    internet.txt_records["_atproto.new.example.com"] = [f"did={ALICE}"]
    assert (await resolver.resolve_actor("new.example.com")).handle == "new.example.com"
