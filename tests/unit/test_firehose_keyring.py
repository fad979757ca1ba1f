"""Signing keys, looked up: strangers' hosts hold up nobody but themselves, and themselves not for long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import cast

import pytest

from firehose_backfill.keyring import Keyring
from headwater.did_document import Identity, is_plc
from headwater.errors import InvalidInputError, Reason
from headwater.identity import IdentityResolver
from headwater.keys import PublicKey

DID = "did:plc:" + "a" * 24
KEY = cast("PublicKey", object())


def identity(did: str) -> Identity:
    return Identity(did, "alice.example", "https://pds.example", KEY, b"")


class Silent:
    """A directory that answers at once, among hosts of did:webs and handles of which none ever does."""

    async def resolve_did(self, did: str, *, refresh: bool = False) -> Identity:
        return identity(did) if is_plc(did) else await asyncio.Event().wait()  # type: ignore[return-value]

    async def verify_handle(self, _: Identity) -> bool:
        return await asyncio.Event().wait()


@pytest.fixture
def keys() -> Keyring:
    return Keyring(cast("IdentityResolver", Silent()))


@contextmanager
def many(look_up: Callable[[str], Awaitable[object]]) -> Iterator[None]:
    """A hundred accounts of strangers' hosts are looked up meanwhile."""
    tasks = [asyncio.ensure_future(look_up(f"did:web:host{number}.example")) for number in range(100)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()


async def test_hosts_that_never_answer_hold_up_nobody_of_the_directory(keys: Keyring) -> None:
    with many(keys.key), many(lambda did: keys.handle(identity(did))):
        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            assert await keys.key(DID) is KEY


async def test_a_host_that_never_answers_is_given_up(keys: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it waits behind others for its turn."""
    with many(keys.key):
        await asyncio.sleep(0)
        monkeypatch.setattr("firehose_backfill.keyring.STRANGERS_SECONDS", 0.05)
        with pytest.raises(InvalidInputError) as refused:
            await keys.key("did:web:silent.example")
        assert refused.value.reason is Reason.UNREACHABLE
        assert await keys.handle(identity(DID)) is None
