"""The page's pure parts: words, bars, and the files that it is made of."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

import pytest

import api_gateway.panel
from api_gateway.panel.assets import ASSETS, asset_url
from api_gateway.panel.job_view import view
from api_gateway.panel.templates import render
from api_gateway.panel.words import REASONS, STATES
from api_gateway.problems import Problem
from api_gateway.routes.panel import days_of
from headwater.bus.jobs import BackfillRequest, FetchPart, FetchState, IndexPart, IndexState, JobState, JobStatus, fold
from headwater.errors import Reason

PANEL = Path(api_gateway.panel.__file__).parent
SECOND = 1_000_000


def job(fetch: FetchPart | None = None, index: IndexPart | None = None, days: int = 0) -> JobStatus:
    request = BackfillRequest(
        job_id="1", did="did:web:a.test", days=days, cutoff_us=None, requested_at_us=0, requested_by="user", actor="a"
    )
    return fold(request, None, fetch, index)


def test_every_reason_and_every_state_has_words() -> None:
    assert set(REASONS) == set(Reason)
    assert set(STATES) == set(JobState)
    assert all(words.what.endswith(".") and words.advice.endswith(".") for words in REASONS.values())


def test_bars_are_full_only_when_all_is_there() -> None:
    fetch = FetchPart(
        state=FetchState.PUBLISHED,
        bytes_fetched=5 * SECOND,
        records_published=1000,
        records_total=1000,
        started_at_us=0,
        updated_at_us=SECOND,
    )
    index = IndexPart(state=IndexState.INDEXING, records_written=999, updated_at_us=2 * SECOND)
    shown = view(job(fetch, index), 2 * SECOND)
    assert [phase.percent for phase in shown.phases] == [100, 100, 99]
    assert shown.pace == "500 records/s, about 1 s left"
    early = view(job(FetchPart(state=FetchState.FETCHING, bytes_fetched=5)), SECOND)
    assert [phase.percent for phase in early.phases] == [None, None, None]
    assert early.pace == ""
    sized = view(job(FetchPart(state=FetchState.FETCHING, bytes_fetched=SECOND, bytes_total=4 * SECOND)), SECOND)
    assert (sized.phases[0].percent, sized.phases[0].said) == (25, "1.0 MB of 4.0 MB")


def test_a_result_says_what_was_brought_in_plain_words() -> None:
    collections = {"app.bsky.feed.like": 5, "app.bsky.feed.post": 7, "com.example.thing": 5}
    fetch = FetchPart(state=FetchState.PUBLISHED, collections=collections)
    done = view(job(fetch, IndexPart(state=IndexState.DONE, records_written=17)), 0)
    assert done.brought == (("posts", 7), ("likes", 5), ("com.example.thing", 5))
    assert view(job(fetch, IndexPart(state=IndexState.INDEXING)), 0).brought == ()
    html = render("_result.html", last=done)
    assert "<strong>7</strong> posts" in html
    assert "more collections" not in html
    many = FetchPart(state=FetchState.PUBLISHED, collections={f"com.example.a{n}": n for n in range(15)})
    html = render("_result.html", last=view(job(many, IndexPart(state=IndexState.DONE)), 0))
    assert "and 3 more collections" in html


def test_a_failure_says_what_to_do() -> None:
    failed = FetchPart(state=FetchState.FAILED, reason=Reason.DEACTIVATED)
    shown = view(job(failed), 0)
    assert shown.words == REASONS[Reason.DEACTIVATED]
    assert not shown.running


@pytest.mark.parametrize(
    ("form", "days"),
    [({"days": "7"}, 7), ({"days": "0"}, 0), ({"days": "other", "other": "90"}, 90), ({"days": "3650"}, 3650)],
)
def test_days_are_read(form: dict[str, str], days: int) -> None:
    assert days_of(form) == days


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"days": ""},
        {"days": "abc"},
        {"days": "-1"},
        {"days": "3651"},
        {"days": "1e3"},
        {"days": "٣"},
        {"days": "99999999999999999999"},
        {"days": "other"},
        {"days": "other", "other": "0"},
    ],
)
def test_other_days_are_refused(form: dict[str, str]) -> None:
    with pytest.raises(Problem) as caught:
        days_of(form)
    assert caught.value.reason == "invalid_input"


def test_what_strangers_say_is_escaped() -> None:
    words = REASONS[Reason.INTERNAL]
    html = render("login.html", actor='"><script>alert(1)</script>', words=words, problem=None)
    assert "<script>alert" not in html


def test_pages_hold_no_inline_script_or_style() -> None:
    for template in (PANEL / "templates").rglob("*.html"):
        text = template.read_text()
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|hx-on|javascript:", text), template


def test_vendored_files_are_the_released_ones() -> None:
    table = (PANEL / "vendored/README.md").read_text()
    listed = dict(re.findall(r"^\| `([\w.-]+)` \|.*`([0-9a-f]{64})` \|$", table, re.MULTILINE))
    scripts = {file.name: sha256(file.read_bytes()).hexdigest() for file in (PANEL / "vendored").glob("*.js")}
    assert listed == scripts
    assert len(scripts) == 2
    assert set(scripts) <= set(ASSETS)
    assert asset_url("panel.css").startswith("/assets/panel.css?v=")


def test_vendored_files_are_those_of_npm() -> None:
    packages = Path(__file__).parents[1] / "e2e/browser/node_modules"
    if not packages.is_dir():
        pytest.skip("npm has not installed the packages of tests/e2e/browser")
    for name, path in {
        "htmx.min.js": "htmx.org/dist/htmx.min.js",
        "htmx-sse.min.js": "htmx-ext-sse/dist/sse.min.js",
    }.items():
        assert (packages / path).read_bytes() == (PANEL / "vendored" / name).read_bytes()
