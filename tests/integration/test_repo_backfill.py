"""Jobs of repo-backfill on a real NATS server and a simulated network: what is published, and how jobs end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from backfill_rig import JobState, Rig, backfill_bus, running, settings_for, world_of_two_hosts
from headwater.bus.hosts import HostsReport, HostState, HostStatus, PauseCause
from headwater.bus.messages import MAX_RECORDS_PER_BATCH, Outcome
from headwater.bus.queries import RepoState
from headwater.bus.streams import BUCKET_HOSTS, STREAM_DEAD_LETTERS
from headwater.clock import DAY_US, now_us
from headwater.errors import Reason
from simulator.faults import GET_REPO, Answer
from simulator.world import World

GET_LATEST = "com.atproto.sync.getLatestCommit"

bus = backfill_bus
world = world_of_two_hosts


async def test_a_whole_repo_is_published_as_it_is(bus: Rig, world: World, tmp_path: Path):
    account = world.add_account()
    account.seed_records(2500)
    account.seed_odd_records()
    async with running(settings_for(bus.url, world.plc.url, tmp_path, handle_resolver_url=world.hosts[0].url)):
        job = await bus.ask(account.did)
        status = await bus.final(account.did, job)
        await bus.queue_emptied()
    assert status.state is JobState.DONE, status
    assert status.handle == account.handle
    assert status.pds == account.host.url
    assert status.rev == account.repo.rev
    expected = account.expected()
    assert bus.seen(job).rows() == {key: (row.cid, row.value) for key, row in expected.items()}
    [end] = bus.seen(job).ends
    assert (end.outcome, end.records, end.whole) == (Outcome.COMPLETE, len(expected), True)
    assert end.batches == len(bus.seen(job).batches)
    assert status.records_published == status.records_total


async def test_the_batches_keep_key_order_and_their_bounds(bus: Rig, world: World, tmp_path: Path):
    account = world.add_account()
    account.seed_records(2300)
    async with running(settings_for(bus.url, world.plc.url, tmp_path)):
        job = await bus.ask(account.did)
        await bus.final(account.did, job)
    batches = [batch for _, batch in sorted(bus.seen(job).batches.items())]
    assert [batch.batch for batch in batches] == list(range(len(batches)))
    assert max(len(batch.put) for batch in batches) <= MAX_RECORDS_PER_BATCH
    keys = [f"{c}/{k}" for batch in batches for c, k in zip(batch.put.collection, batch.put.rkey, strict=True)]
    assert keys == sorted(keys)


async def test_a_cutoff_puts_what_is_in_scope_and_names_the_other_keys(bus: Rig, world: World, tmp_path: Path):
    account = world.add_account()
    account.seed_records(800)
    account.seed_odd_records()
    cutoff = now_us() - 90 * DAY_US
    async with running(settings_for(bus.url, world.plc.url, tmp_path)):
        job = await bus.ask(account.did, days=90, cutoff_us=cutoff)
        status = await bus.final(account.did, job)
    inside = account.expected(cutoff)
    outside = set(account.expected()) - set(inside)
    assert inside
    assert outside
    assert bus.seen(job).rows() == {key: (row.cid, row.value) for key, row in inside.items()}
    assert bus.seen(job).keys() == outside
    assert bus.seen(job).held() == set()
    [end] = bus.seen(job).ends
    assert (end.whole, end.cutoff_us, end.records) == (False, cutoff, len(inside))
    assert status.state is JobState.DONE


async def test_a_cutoff_refreshes_what_the_table_holds(bus: Rig, world: World, tmp_path: Path):
    account = world.add_account()
    account.seed_records(300)
    cutoff = now_us() - 90 * DAY_US
    bus.indexer.states[account.did] = RepoState(did=account.did, epoch=3, held=True)
    async with running(settings_for(bus.url, world.plc.url, tmp_path)):
        job = await bus.ask(account.did, days=90, cutoff_us=cutoff)
        await bus.final(account.did, job)
    inside = set(account.expected(cutoff))
    assert set(bus.seen(job).rows()) == inside
    assert bus.seen(job).held() == set(account.expected()) - inside
    assert bus.seen(job).keys() == set()
    assert {batch.epoch for batch in bus.seen(job).batches.values()} == {3}


async def test_an_empty_repo_is_done(bus: Rig, world: World, tmp_path: Path):
    account = world.add_account()
    async with running(settings_for(bus.url, world.plc.url, tmp_path)):
        job = await bus.ask(account.did)
        status = await bus.final(account.did, job)
    assert status.state is JobState.DONE
    [end] = bus.seen(job).ends
    assert (end.records, end.batches) == (0, 0)


async def test_what_is_asked_for_anew_is_fetched_though_nothing_is_new(bus: Rig, world: World, tmp_path: Path):
    """Something of it could not be used when it was fetched before."""
    account = world.add_account()
    account.seed_records(50)
    bus.indexer.states[account.did] = RepoState(did=account.did, held=True, floor_rev=account.repo.rev)
    async with running(settings_for(bus.url, world.plc.url, tmp_path)):
        job = await bus.ask(account.did, anew=True)
        status = await bus.final(account.did, job)
    assert (status.state, status.unchanged, status.records_published) == (JobState.DONE, False, 50)
    assert bus.seen(job).ends[0].outcome is Outcome.COMPLETE


async def test_what_went_wrong_at_a_host_is_told(bus: Rig, world: World, tmp_path: Path):
    account, gone = world.add_account(), world.add_account(host=world.hosts[1])
    account.seed_records(5)
    account.fault(Answer(status=429, headers={"Retry-After": "60"}))
    gone.status = "deactivated"
    async with running(settings_for(bus.url, world.plc.url, tmp_path)):
        waiting = await bus.ask(account.did)
        await bus.until(account.did, waiting, lambda status: status.next_try_at_us is not None)
        await bus.final(gone.did, await bus.ask(gone.did))
        told = await until_told(bus)
    busy, fine = told[account.host.url], told[gone.host.url]
    assert (busy.state, busy.cause, busy.errors) == (HostState.PAUSED, PauseCause.RETRY_AFTER, {"retry_after": 1})
    assert busy.last_error is not None
    assert "429" in busy.last_error
    assert (fine.state, fine.errors) == (HostState.IDLE, {"deactivated": 1})


async def until_told(bus: Rig) -> dict[str, HostStatus]:
    """What the worker says of two hosts in the bucket, when it has said so."""
    bucket = await bus.js.key_value(BUCKET_HOSTS)
    for _ in range(200):
        report = HostsReport.model_validate_json((await bucket.get("0")).value or b"")
        if sum(len(host.errors) for host in report.hosts) == 2:
            return {host.host: host for host in report.hosts}
        await asyncio.sleep(0.1)
    raise AssertionError("it was never told")


async def test_nothing_new_costs_one_request(bus: Rig, world: World, tmp_path: Path):
    account = world.add_account()
    account.seed_records(50)
    bus.indexer.states[account.did] = RepoState(did=account.did, held=True, floor_rev=account.repo.rev)
    async with running(settings_for(bus.url, world.plc.url, tmp_path)):
        job = await bus.ask(account.did, days=30)
        status = await bus.final(account.did, job)
    assert status.unchanged
    assert status.state is JobState.DONE
    assert [seen.path for seen in account.host.requests] == [f"/xrpc/{GET_LATEST}"]
    [end] = bus.seen(job).ends
    assert (end.outcome, end.rev) == (Outcome.UNCHANGED, account.repo.rev)


@pytest.mark.parametrize(("covered_days", "asked_days", "unchanged"), [(90, 30, True), (30, 90, False), (30, 0, False)])
async def test_a_scoped_snapshot_covers_narrower_scopes(
    bus: Rig, world: World, tmp_path: Path, covered_days: int, asked_days: int, unchanged: bool
):
    account = world.add_account()
    account.seed_records(20)
    bus.indexer.states[account.did] = RepoState(
        did=account.did,
        held=True,
        scoped_rev=account.repo.rev,
        scoped_cutoff_us=now_us() - covered_days * DAY_US,
    )
    async with running(settings_for(bus.url, world.plc.url, tmp_path)):
        status = await bus.run(account.did, days=asked_days)
    assert status.unchanged is unchanged
    assert account.host.count(GET_REPO) == (0 if unchanged else 1)


async def test_a_changed_repo_is_fetched_again(bus: Rig, world: World, tmp_path: Path):
    account = world.add_account()
    account.seed_records(50)
    bus.indexer.states[account.did] = RepoState(did=account.did, held=True, floor_rev=account.repo.rev)
    account.post("news")
    async with running(settings_for(bus.url, world.plc.url, tmp_path)):
        status = await bus.run(account.did)
    assert (status.state, status.unchanged, status.records_published) == (JobState.DONE, False, 51)


async def test_refused_records_are_counted_and_kept_and_their_siblings_go_on(bus: Rig, world: World, tmp_path: Path):
    account = world.add_account()
    account.seed_records(20)
    account.put_invalid("app.bsky.feed.post", "broken", b"\xa1\x61a\xf9\x3c\x00")
    async with running(settings_for(bus.url, world.plc.url, tmp_path)):
        job = await bus.ask(account.did)
        status = await bus.final(account.did, job)
    assert status.state is JobState.DONE
    assert sum(status.rejected.values()) == 1
    assert len(bus.seen(job).rows()) == 20
    [end] = bus.seen(job).ends
    assert (end.records, end.rejected) == (20, status.rejected)
    [reason] = status.rejected
    letter = await bus.js.get_last_msg(STREAM_DEAD_LETTERS, f"dead.record.{reason}")
    assert letter.data == b"\xa1\x61a\xf9\x3c\x00"
    assert letter.headers is not None
    assert letter.headers["Headwater-Rkey"] == "broken"


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("deactivated", Reason.DEACTIVATED),
        ("suspended", Reason.SUSPENDED),
        ("takendown", Reason.TAKEN_DOWN),
        ("deleted", Reason.NOT_FOUND),
    ],
)
async def test_what_a_pds_says_of_an_account_is_an_answer(
    bus: Rig, world: World, tmp_path: Path, status: str, reason: Reason
):
    account, sibling = world.add_account(host=world.hosts[0]), world.add_account(host=world.hosts[0])
    account.seed_records(5)
    sibling.seed_records(5)
    account.status = status
    async with running(settings_for(bus.url, world.plc.url, tmp_path)):
        job = await bus.ask(account.did)
        ended = await bus.final(account.did, job)
        assert (ended.state, ended.reason, ended.attempt) == (JobState.FAILED, reason, 1)
        assert (await bus.run(sibling.did)).state is JobState.DONE
        await bus.queue_emptied()
    [end] = bus.seen(job).ends
    assert (end.outcome, end.reason) == (Outcome.FAILED, reason)


async def test_an_account_that_nobody_knows(bus: Rig, world: World, tmp_path: Path):
    did = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
    async with running(settings_for(bus.url, world.plc.url, tmp_path)):
        status = await bus.run(did)
    assert (status.state, status.reason) == (JobState.FAILED, Reason.UNRESOLVABLE)


@pytest.mark.parametrize(("leave_out", "reason"), [("service", Reason.NO_PDS), ("verificationMethod", Reason.NO_KEY)])
async def test_a_document_that_lacks_something(bus: Rig, world: World, tmp_path: Path, leave_out: str, reason: Reason):
    account = world.add_account()
    account.seed_records(5)
    document = account.document()
    world.plc.register(account.did, {name: value for name, value in document.items() if name != leave_out})
    async with running(settings_for(bus.url, world.plc.url, tmp_path)):
        status = await bus.run(account.did)
    assert (status.state, status.reason) == (JobState.FAILED, reason)


async def test_somebody_who_opted_out_is_not_fetched(bus: Rig, world: World, tmp_path: Path):
    account = world.add_account()
    bus.indexer.states[account.did] = RepoState(did=account.did, opted_out=True)
    async with running(settings_for(bus.url, world.plc.url, tmp_path)):
        status = await bus.run(account.did)
    assert (status.state, status.reason) == (JobState.FAILED, Reason.OPTED_OUT)
    assert account.host.requests == []


async def test_an_account_that_moved_is_found_at_its_new_home(bus: Rig, world: World, tmp_path: Path):
    account = world.add_account(host=world.hosts[0])
    account.seed_records(10)
    async with running(settings_for(bus.url, world.plc.url, tmp_path)):
        assert (await bus.run(account.did)).state is JobState.DONE
        account.migrate(world.hosts[1])
        status = await bus.run(account.did)
    assert (status.state, status.pds) == (JobState.DONE, world.hosts[1].url)


async def test_a_rotated_key_is_looked_up_again(bus: Rig, world: World, tmp_path: Path):
    account = world.add_account()
    account.seed_records(10)
    async with running(settings_for(bus.url, world.plc.url, tmp_path)):
        assert (await bus.run(account.did)).state is JobState.DONE
        account.rotate_key()
        status = await bus.run(account.did)
    assert status.state is JobState.DONE, status


async def test_a_pds_that_fell_back_to_an_older_state_is_not_believed(bus: Rig, world: World, tmp_path: Path):
    account = world.add_account()
    account.seed_records(10)
    bus.indexer.states[account.did] = RepoState(did=account.did, held=True, floor_rev="3zzzzzzzzzzzz")
    async with running(settings_for(bus.url, world.plc.url, tmp_path, headwater_fetch_tries=2)):
        job = await bus.ask(account.did)
        status = await bus.final(account.did, job)
    assert (status.state, status.reason) == (JobState.FAILED, Reason.COMMIT_REV)
    assert bus.seen(job).rows() == {}


async def test_a_pds_without_get_latest_commit_is_asked_for_the_repo(bus: Rig, world: World, tmp_path: Path):
    account = world.add_account()
    account.seed_records(10)
    bus.indexer.states[account.did] = RepoState(did=account.did, held=True, floor_rev="3aaaaaaaaaaaa")
    account.fault(Answer(path=GET_LATEST, status=404, body=b"no such page", content_type="text/plain", times=None))
    async with running(settings_for(bus.url, world.plc.url, tmp_path)):
        status = await bus.run(account.did)
    assert (status.state, status.unchanged) == (JobState.DONE, False)


@pytest.mark.parametrize(("before", "now", "fetched"), [("", "app.bsky.*", 0), ("app.bsky.*", "*", 1)])
async def test_a_widened_filter_is_not_hidden_by_the_floor(
    bus: Rig, world: World, tmp_path: Path, before: str, now: str, fetched: int
):
    account = world.add_account()
    account.seed_records(50)
    state = RepoState(did=account.did, held=True, floor_rev=account.repo.rev, floor_collections=before)
    bus.indexer.states[account.did] = state
    async with running(settings_for(bus.url, world.plc.url, tmp_path, collections=now)):
        job = await bus.run(account.did)
    assert (job.state, len(bus.seen(job.job_id).batches) > 0) == (JobState.DONE, bool(fetched))
    [end] = bus.seen(job.job_id).ends
    assert end.collections == ("app.bsky.*" if now != "*" else "")
    assert end.at_us > 0
