"""What listRepos and listHosts may answer, which repos a crawl wants, and what it remembers of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firehose_backfill import seen_dids
from firehose_backfill.filing import Scope
from firehose_backfill.listing import CLOCK_MARGIN_US, ListedHost, ListedRepo, is_wanted, parse_hosts, parse_repos
from firehose_backfill.seen_dids import SeenDids
from headwater.bus.jobs import BackfillRequest
from headwater.bus.subjects import RequestLane
from headwater.clock import DAY_US
from headwater.errors import InvalidInputError, Reason
from headwater.tid import tid_from

DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
NOW_US = 1_780_000_000_000_000


def test_a_page_is_read_and_its_odd_entries_are_counted() -> None:
    rev = tid_from(NOW_US)
    page = parse_repos(
        {
            "repos": [
                {"did": DID, "head": "bafy", "rev": rev, "active": True},
                {"did": "did:web:a.example", "rev": rev},
                {"did": "did:web:b.example", "rev": "yesterday", "active": False, "status": "takendown"},
                {"did": "alice", "rev": rev},
                {"rev": rev},
                7,
            ],
            "cursor": "abc",
        }
    )
    assert page.repos == [
        ListedRepo(DID, NOW_US, active=True),
        ListedRepo("did:web:a.example", NOW_US, active=True),
        ListedRepo("did:web:b.example", None, active=False, status="takendown"),
    ]
    assert (page.malformed, page.cursor) == (3, "abc")


@pytest.mark.parametrize(
    "value", [None, [], {}, {"repos": {}}, {"repos": [], "cursor": 5}, {"repos": [], "cursor": "x" * 5_000}]
)
def test_what_is_no_page_is_refused(value: object) -> None:
    with pytest.raises(InvalidInputError) as refused:
        parse_repos(value)
    assert refused.value.reason is Reason.RESPONSE_MALFORMED


def test_the_last_page_has_no_cursor() -> None:
    assert parse_repos({"repos": []}).cursor is None
    assert parse_repos({"repos": [], "cursor": ""}).cursor is None


def test_hosts_are_read_with_their_counts() -> None:
    page = parse_hosts(
        {
            "hosts": [
                {"hostname": "pds.example", "accountCount": 12, "status": "active"},
                {"hostname": "bad.example", "status": "banned"},
                {"hostname": "odd.example", "accountCount": -1},
                {"hostname": ""},
                {"hostname": "x" * 300},
                None,
            ]
        }
    )
    assert page.hosts == [
        ListedHost("pds.example", 12, banned=False),
        ListedHost("bad.example", None, banned=True),
        ListedHost("odd.example", None, banned=False),
    ]
    assert page.malformed == 3


def test_a_repo_is_wanted_when_it_may_hold_something_new_enough() -> None:
    cutoff = NOW_US - DAY_US
    assert is_wanted(ListedRepo(DID, NOW_US, active=True), cutoff)
    assert is_wanted(ListedRepo(DID, cutoff, active=True), cutoff)
    assert is_wanted(ListedRepo(DID, cutoff - CLOCK_MARGIN_US, active=True), cutoff), "hosts' clocks differ"
    assert not is_wanted(ListedRepo(DID, cutoff - CLOCK_MARGIN_US - 1, active=True), cutoff)
    assert is_wanted(ListedRepo(DID, 0, active=True), None), "everything is wanted"
    assert is_wanted(ListedRepo(DID, None, active=True), cutoff), "the rev says nothing"
    assert not is_wanted(ListedRepo(DID, NOW_US, active=False), None)


@pytest.mark.parametrize(
    ("cutoff", "requested", "covers"),
    [
        (None, NOW_US, True),
        (NOW_US - 2 * DAY_US, NOW_US, True),
        (NOW_US - DAY_US, NOW_US, True),
        (NOW_US - DAY_US + 1, NOW_US, False),
        (None, NOW_US - 1, False),
    ],
)
def test_a_request_that_is_there_counts_if_it_brings_as_much(cutoff: int | None, requested: int, covers: bool) -> None:
    scope = Scope(RequestLane.CRAWL, NOW_US - DAY_US, NOW_US)
    request = BackfillRequest(
        job_id="1",
        did=DID,
        lane=RequestLane.CRAWL,
        days=0,
        cutoff_us=cutoff,
        requested_at_us=requested,
        requested_by="system",
        actor=DID,
    )
    assert scope.is_covered_by(request) is covers
    everything = Scope(RequestLane.CRAWL, None, NOW_US)
    assert everything.is_covered_by(request) is (covers and cutoff is None)


@given(batches=st.lists(st.lists(st.integers(0, 400).map("did:plc:{}".format), max_size=40), max_size=12))
def test_what_was_seen_is_remembered_and_nothing_else(batches: list[list[str]]) -> None:
    seen, naive = SeenDids(), set[str]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seen_dids, "_RECENT", 8)
        for batch in batches:
            seen.update(batch)
            naive.update(batch)
            assert len(seen) == len(naive)
            assert {did for did in map("did:plc:{}".format, range(401)) if did in seen} == naive
