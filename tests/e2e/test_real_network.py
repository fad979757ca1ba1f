"""The real PDS does what the end-to-end tests build on."""

from __future__ import annotations

import httpx
import pytest

from e2e.real_network import RealNetwork

NOW = "2026-01-01T00:00:00.000Z"


async def test_the_real_pds_lists_what_was_written(real_network: RealNetwork) -> None:
    account = await real_network.create_account("harness.test")
    kept = await real_network.create(
        account, "app.bsky.feed.post", {"$type": "app.bsky.feed.post", "text": "kept", "createdAt": NOW}
    )
    gone = await real_network.create(
        account, "app.bsky.feed.post", {"$type": "app.bsky.feed.post", "text": "gone", "createdAt": NOW}
    )
    await real_network.create(account, "org.example.thing", {"$type": "org.example.thing", "n": 7}, rkey="one")
    await real_network.put(account, "org.example.thing", "one", {"$type": "org.example.thing", "n": 8})
    await real_network.delete(account, "app.bsky.feed.post", gone)
    listed = await real_network.list_records(account.did)
    assert set(listed) == {("app.bsky.feed.post", kept), ("org.example.thing", "one")}
    assert listed["org.example.thing", "one"][1]["n"] == 8
    token = await real_network.service_auth(account, "did:web:example.com", "com.example.method")
    assert token.count(".") == 2


async def test_a_deactivated_account_serves_no_repo(real_network: RealNetwork) -> None:
    account = await real_network.create_account("asleep.test")
    await real_network.deactivate(account)
    async with httpx.AsyncClient(timeout=60) as http:
        answer = await http.get(f"{real_network.pds_url}/xrpc/com.atproto.sync.getRepo", params={"did": account.did})
    assert answer.json()["error"] == "RepoDeactivated"


async def test_a_taken_down_account_serves_no_repo(real_network: RealNetwork) -> None:
    account = await real_network.create_account("taken.test")
    await real_network.take_down(account)
    async with httpx.AsyncClient(timeout=60) as http:
        answer = await http.get(f"{real_network.pds_url}/xrpc/com.atproto.sync.getRepo", params={"did": account.did})
    assert answer.json()["error"] == "RepoTakendown"


@pytest.mark.parametrize("collection", ["app.bsky.feed.like"])
async def test_many_writes_in_one_commit(real_network: RealNetwork, collection: str) -> None:
    account = await real_network.create_account("busy.test")
    subject = {
        "uri": f"at://{account.did}/app.bsky.feed.post/3l",
        "cid": "bafyreia3zwwmogntyn7zhsr6kyzvelma2l77axbldfja6jwcqbjq5e5tj4",
    }
    value = {"$type": collection, "subject": subject, "createdAt": NOW}
    writes = [{"$type": "com.atproto.repo.applyWrites#create", "collection": collection, "value": value}] * 150
    await real_network.apply_writes(account, writes)
    assert len(await real_network.list_records(account.did)) == 150
