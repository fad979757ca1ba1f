"""The gateway's pure rules: days, readiness of the stack, pages of jobs, the operators' token file."""

from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from api_gateway.acceptance import new_request
from api_gateway.auth.operator import FILE_NAME, load_operator_token
from api_gateway.jobs import is_job_id, page
from api_gateway.readiness import missing
from api_gateway.routes.bodies import UserBackfill
from api_gateway.settings import GatewaySettings
from gateway_harness import worker
from headwater.bus.jobs import CancelPart, JobState, first_job_id, fold, new_job_id
from headwater.errors import InvariantError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.integers(min_value=-10, max_value=4000) | JSON)
def test_days_is_a_whole_number_within_ten_years_or_nothing(days: object) -> None:
    text = json.dumps({"days": days})
    if type(days) is int and 0 <= days <= 3650:
        assert UserBackfill.model_validate_json(text).days == days
    else:
        with pytest.raises(ValidationError):
            UserBackfill.model_validate_json(text)


ALL = [worker("indexer"), worker("repo-backfill"), worker("firehose-backfill")]


def test_a_whole_stack_is_ready() -> None:
    assert not any(missing(ALL).values())
    split = [worker("indexer", 0, 2), worker("indexer", 1, 2), *ALL[1:]]
    assert not any(missing(split).values())


@pytest.mark.parametrize("service", ["indexer", "repo-backfill", "firehose-backfill"])
def test_each_service_is_needed(service: str) -> None:
    there = [one for one in ALL if one.service != service]
    found = missing(there)
    assert found[service] == "no worker lives"
    assert sum(map(bool, found.values())) == 1
    assert "postgres: connection refused" in missing([*there, worker(service, ready=False)])[service]


def test_every_partition_needs_its_owner() -> None:
    found = missing([worker("indexer", 1, 2), worker("indexer", 0, 2, ready=False), *ALL[1:]])
    assert found["indexer"] == "partitions without a ready owner: 0, 2, 4, 6, 8, 10, 12, 14"
    assert not found["repo-backfill"]


def test_one_of_several_fetchers_suffices() -> None:
    assert not any(missing([*ALL, worker("repo-backfill", 1, 2, ready=False)]).values())


def test_pages_of_jobs_make_up_the_whole() -> None:
    requests = [new_request("did:plc:a", 0, actor="did:plc:a", requested_by="user") for _ in range(7)]
    jobs = [fold(one, CancelPart(requested_at_us=1) if n % 2 else None, None, None) for n, one in enumerate(requests)]
    collected: list[str] = []
    before = None
    for _ in range(4):
        found, before = page(jobs, state=None, before=before, limit=2)
        collected += [job.job_id for job in found]
    assert before is None
    assert collected == sorted((job.job_id for job in jobs), reverse=True)
    cancelled, rest = page(jobs, state=JobState.CANCELLED, before=None, limit=3)
    assert ([job.state for job in cancelled], rest) == ([JobState.CANCELLED] * 3, None)


def test_ids_sort_by_time_and_are_tokens() -> None:
    ids = [new_job_id(now) for now in range(1_790_000_000_000_000, 1_790_000_000_000_200)]
    assert len(set(ids)) == 200
    assert ids == sorted(ids)
    assert ids[98] < first_job_id(1_790_000_000_000_099) < ids[99]
    assert all(map(is_job_id, ids))
    assert not any(map(is_job_id, ["", "*", "a.b", ">", "a b", "a\n", "x" * 65]))


def test_the_operators_token_is_made_once_and_for_the_owner_only(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with ThreadPoolExecutor(8) as pool:
        tokens = list(pool.map(lambda _: load_operator_token(home), range(8)))
    path = home / FILE_NAME
    text = path.read_text().strip()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(text) >= 40
    assert [one.matches(text) for one in tokens] == [True] * 8
    assert not tokens[0].matches(text[:-1])
    assert not tokens[0].matches("")
    assert not tokens[0].matches("\ud800")
    assert [entry.name for entry in home.iterdir()] == [FILE_NAME]


def test_the_operators_token_is_never_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    load_operator_token(tmp_path)
    text = (tmp_path / FILE_NAME).read_text().strip()
    assert str(tmp_path / FILE_NAME) in caplog.text
    assert text not in caplog.text


def test_a_token_file_that_others_can_read_is_closed(tmp_path: Path) -> None:
    load_operator_token(tmp_path)
    (tmp_path / FILE_NAME).chmod(0o644)
    load_operator_token(tmp_path)
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600


def test_an_empty_token_file_lets_nobody_in(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("\n")
    with pytest.raises(InvariantError, match=FILE_NAME):
        load_operator_token(tmp_path)


def test_the_gateways_did_is_the_local_one_unless_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GATEWAY_DID", raising=False)
    assert GatewaySettings(_env_file=None, gateway_port=8123).did == "did:web:localhost%3A8123"
    assert GatewaySettings(_env_file=None, gateway_did="did:web:a.example").did == "did:web:a.example"
    with pytest.raises(ValidationError, match="not a DID"):
        GatewaySettings(_env_file=None, gateway_did="https://a.example")


def test_proxies_are_addresses_or_networks() -> None:
    assert GatewaySettings(_env_file=None).proxies == []
    assert GatewaySettings(_env_file=None, gateway_proxies="10.0.0.1, fd00::/8").proxies == ["10.0.0.1", "fd00::/8"]
    for wrong in ("*", "10.0.0.1/8", "proxy.example"):
        with pytest.raises(ValidationError):
            GatewaySettings(_env_file=None, gateway_proxies=wrong)
