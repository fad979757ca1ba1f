from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from headwater import syntax
from headwater.errors import InvalidInputError, Reason
from headwater.record_time import datetime_microseconds
from headwater.tid import is_tid

LISTS = Path(__file__).parents[3] / "shared" / "data" / "interop" / "syntax"


def _parses(parse: Callable[[str], object]) -> Callable[[str], bool]:
    def answer(text: str) -> bool:
        try:
            parse(text)
        except InvalidInputError as error:
            if error.reason is Reason.SYNTAX:
                return False
            raise
        return True

    return answer


# Language tags and generic URIs are left out: Headwater reads neither.
CHECKS: dict[str, Callable[[str], bool]] = {
    "atidentifier": _parses(syntax.parse_at_identifier),
    "aturi": _parses(syntax.parse_at_uri),
    "cid": syntax.is_cid_text,
    "datetime": syntax.is_datetime,
    "did": _parses(syntax.parse_did),
    "handle": _parses(syntax.parse_handle),
    "nsid": _parses(syntax.parse_nsid),
    "recordkey": _parses(syntax.parse_rkey),
    "tid": is_tid,
}


def _lines(name: str) -> list[str]:
    path = LISTS / name
    if not path.exists():
        pytest.skip("the interop test lists are not here")
    lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line and not line.startswith("#")]
    assert lines
    return lines


@pytest.mark.parametrize("kind", CHECKS)
def test_everything_on_the_valid_list_is_accepted(kind: str) -> None:
    assert [line for line in _lines(f"{kind}_syntax_valid.txt") if not CHECKS[kind](line)] == []


@pytest.mark.parametrize("kind", CHECKS)
def test_everything_on_the_invalid_list_is_refused(kind: str) -> None:
    assert [line for line in _lines(f"{kind}_syntax_invalid.txt") if CHECKS[kind](line)] == []


def test_datetimes_that_name_no_moment_have_no_value() -> None:
    assert [line for line in _lines("datetime_parse_invalid.txt") if datetime_microseconds(line) is not None] == []


def test_datetimes_on_the_valid_list_have_a_value_from_the_year_1_on() -> None:
    valid = [line for line in _lines("datetime_syntax_valid.txt") if not line.startswith("0000")]
    assert [line for line in valid if datetime_microseconds(line) is None] == []


@pytest.mark.parametrize("check", [syntax.is_did, syntax.is_handle, syntax.is_nsid, syntax.is_rkey, syntax.is_datetime])
@pytest.mark.parametrize("text", ["", "\n", "a" * 100_000, "a." * 50_000, "did:a:" + ":" * 100_000])
def test_empty_and_endless_texts_are_refused(check: Callable[[str], bool], text: str) -> None:
    assert not check(text)


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (syntax.is_did, "did:plc:abc\n"),
        (syntax.is_handle, "alice.test\n"),
        (syntax.is_nsid, "app.bsky.feed.post\n"),
        (syntax.is_rkey, "self\n"),
        (syntax.is_rkey, "..\n"),
        (syntax.is_datetime, "2026-01-01T00:00:00Z\n"),
        (syntax.is_handle, "ａlice.test"),
        (syntax.is_datetime, "２026-01-01T00:00:00Z"),
    ],
)
def test_line_ends_and_lookalikes_are_refused(check: Callable[[str], bool], text: str) -> None:
    assert not check(text)


def test_lengths_are_bounded_where_the_specification_bounds_them() -> None:
    assert syntax.is_rkey("a" * 512)
    assert not syntax.is_rkey("a" * 513)
    assert syntax.is_did("did:plc:" + "a" * 2040)
    assert not syntax.is_did("did:plc:" + "a" * 2041)
    authority = "com." + ".".join(["a" * 62] * 3) + "." + "a" * 60
    assert len(authority) == 253
    assert syntax.is_nsid(authority + "." + "n" * 63)
    assert not syntax.is_nsid(authority + "a." + "n" * 63)


def test_a_handle_is_kept_in_lower_case_and_a_did_as_it_is() -> None:
    assert syntax.parse_handle("Alice.Example.COM") == "alice.example.com"
    assert syntax.parse_at_identifier("Alice.Example.COM") == "alice.example.com"
    assert syntax.parse_at_identifier("did:web:Example.com") == "did:web:Example.com"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("at://did:plc:abc", ("did:plc:abc", None, None)),
        ("at://alice.test/app.bsky.feed.post", ("alice.test", "app.bsky.feed.post", None)),
        ("at://did:plc:abc/app.bsky.feed.post/3k", ("did:plc:abc", "app.bsky.feed.post", "3k")),
    ],
)
def test_an_at_uri_falls_into_its_parts(text: str, parts: tuple[str, str | None, str | None]) -> None:
    assert syntax.parse_at_uri(text) == parts


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        (b"app.bsky.feed.post/3jx2sj3hs2222", ("app.bsky.feed.post", "3jx2sj3hs2222")),
        (b"app.bsky.actor.profile/self", ("app.bsky.actor.profile", "self")),
        (b"com.example.thing/a:b~c_d-e.f", ("com.example.thing", "a:b~c_d-e.f")),
        (b"com.example.thing/...", ("com.example.thing", "...")),
        (b"com.example.thing/" + b"a" * 512, ("com.example.thing", "a" * 512)),
    ],
)
def test_a_repo_key_is_split(key: bytes, parts: tuple[str, str]) -> None:
    assert syntax.split_repo_key(key) == parts


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"/",
        b"com.example.thing",
        b"com.example.thing/",
        b"/self",
        b"com.example/self",
        b"com..example.thing/self",
        b"com.example.thing/.",
        b"com.example.thing/..",
        b"com.example.thing/a/b",
        b"com.example.thing//a",
        b"com.example.thing/a b",
        b"com.example.thing/a\n",
        b"com.example.thing/a\x00",
        b"com.example.thing/caf\xc3\xa9",
        b"com.example.thing/\xff",
        b"com.example.thing/" + b"a" * 513,
        b"com.example.thing/" + b"-" * 513,
        b"com.example.thing\n/self",
    ],
)
def test_a_bad_repo_key_is_refused(key: bytes) -> None:
    # Twice: a refusal must not leave anything behind that lets the same key pass.
    for _ in range(2):
        with pytest.raises(InvalidInputError) as caught:
            syntax.split_repo_key(key)
        assert caught.value.reason is Reason.MST_KEY
        assert len(str(caught.value)) < 300


def test_a_repo_with_endless_collections_does_not_fill_the_memory() -> None:
    for number in range(10_000):
        assert syntax.split_repo_key(f"com.example.n{number}/a".encode()) == (f"com.example.n{number}", "a")
    assert len(syntax._collections) <= 4096
