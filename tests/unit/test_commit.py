from __future__ import annotations

import coincurve
import pytest

from headwater.commit import check_commit, parse_commit, verify_signature
from headwater.errors import InvalidInputError, Reason
from headwater.keys import Curve, PublicKey
from naive_repo import cid_of, encode, link, signed_commit

SECRET = coincurve.PrivateKey(b"\x09" * 32)
KEY = PublicKey.from_point(Curve.K256, SECRET.public_key.format())
OTHER_KEY = PublicKey.from_point(Curve.K256, coincurve.PrivateKey(b"\x0a" * 32).public_key.format())
DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
REV = "3l6oveex3ii2l"
# The time in that TID, taken apart by hand: base32-sortable digits, the last two are the clock's id.
REV_US = (
    sum("234567abcdefghijklmnopqrstuvwxyz".index(digit) << 5 * place for place, digit in enumerate(reversed(REV))) >> 10
)
DATA = cid_of(b"\xa0")
FIELDS: dict[str, object] = {"did": DID, "version": 3, "data": link(DATA), "rev": REV, "prev": None}


def _refusal(block: bytes) -> Reason:
    with pytest.raises(InvalidInputError) as refused:
        parse_commit(block)
    return refused.value.reason


def test_a_commit_is_read_as_it_was_signed() -> None:
    commit = parse_commit(signed_commit(SECRET, FIELDS))
    assert (commit.did, commit.version, commit.data, commit.rev, commit.prev) == (DID, 3, DATA, REV, None)
    assert commit.unsigned == encode(FIELDS)
    verify_signature(commit, KEY)


def test_prev_may_be_a_link() -> None:
    commit = parse_commit(signed_commit(SECRET, {**FIELDS, "prev": link(DATA)}))
    assert commit.prev == DATA
    verify_signature(commit, KEY)


def test_an_unknown_signed_field_belongs_to_what_was_signed() -> None:
    commit = parse_commit(signed_commit(SECRET, {**FIELDS, "extra": {"x": [1, link(DATA), b"y"]}}))
    verify_signature(commit, KEY)


def test_an_unknown_field_added_after_signing_breaks_the_signature() -> None:
    signed = signed_commit(SECRET, FIELDS)
    commit = parse_commit(encode({**FIELDS, "sig": parse_commit(signed).sig, "extra": 1}))
    with pytest.raises(InvalidInputError) as refused:
        verify_signature(commit, KEY)
    assert refused.value.reason is Reason.BAD_SIGNATURE


def test_another_accounts_key_does_not_fit() -> None:
    with pytest.raises(InvalidInputError) as refused:
        verify_signature(parse_commit(signed_commit(SECRET, FIELDS)), OTHER_KEY)
    assert refused.value.reason is Reason.BAD_SIGNATURE


@pytest.mark.parametrize(
    "changed",
    [
        {"version": 2},
        {"version": 4},
        {"version": "3"},
        {"version": True},
        {"did": None},
        {"did": 1},
        {"rev": b"3l6oveex3ii2l"},
        {"data": None},
        {"data": DATA},
        {"prev": "bafy"},
        {"sig": None},
        {"sig": "text"},
    ],
)
def test_fields_of_the_wrong_type(changed: dict[str, object]) -> None:
    assert _refusal(encode({**FIELDS, "sig": bytes(64), **changed})) is Reason.COMMIT_MALFORMED


@pytest.mark.parametrize("name", [*FIELDS, "sig"])
def test_fields_that_are_missing(name: str) -> None:
    fields = {**FIELDS, "sig": bytes(64)}
    del fields[name]
    assert _refusal(encode(fields)) is Reason.COMMIT_MALFORMED


@pytest.mark.parametrize("cid", [b"\x12\x20" + bytes(32), b"\x01\x55" + DATA[2:], DATA + b"\x00"])
def test_links_that_atproto_does_not_know(cid: bytes) -> None:
    assert _refusal(encode({**FIELDS, "sig": bytes(64), "data": link(cid)})) is Reason.CID_UNSUPPORTED
    assert _refusal(encode({**FIELDS, "sig": bytes(64), "prev": link(cid)})) is Reason.CID_UNSUPPORTED


def test_a_link_to_nothing() -> None:
    # Whether such bytes are a link at all is for the decoder to say; a commit they are not.
    block = encode({**FIELDS, "sig": bytes(64), "data": link(b"")})
    assert _refusal(block) in (Reason.COMMIT_MALFORMED, Reason.CID_UNSUPPORTED)


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"\x80",
        b"\xbf" + signed_commit(SECRET, FIELDS)[1:] + b"\xff",
        signed_commit(SECRET, FIELDS) + b"\x00",
        signed_commit(SECRET, FIELDS)[:-1],
        signed_commit(SECRET, FIELDS).replace(b"gversion\x03", b"gversion\x18\x03"),
        b"\x81" * 100_000,
    ],
    ids=["empty", "list", "indefinite", "more", "less", "long integer", "deep"],
)
def test_other_encodings_are_refused(block: bytes) -> None:
    assert _refusal(block) is Reason.COMMIT_MALFORMED


def test_a_commit_is_for_one_account() -> None:
    commit = parse_commit(signed_commit(SECRET, FIELDS))
    check_commit(commit, DID, REV_US)
    with pytest.raises(InvalidInputError) as refused:
        check_commit(commit, "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", REV_US)
    assert refused.value.reason is Reason.COMMIT_DID


def test_a_rev_may_be_five_minutes_ahead() -> None:
    commit = parse_commit(signed_commit(SECRET, FIELDS))
    check_commit(commit, DID, REV_US - 300_000_000)
    with pytest.raises(InvalidInputError) as refused:
        check_commit(commit, DID, REV_US - 300_000_001)
    assert refused.value.reason is Reason.COMMIT_REV


@pytest.mark.parametrize("rev", ["", "not-a-tid", REV.upper(), REV + "2", "zzzzzzzzzzzzz"])
def test_a_rev_has_to_be_a_tid(rev: str) -> None:
    commit = parse_commit(signed_commit(SECRET, {**FIELDS, "rev": rev}))
    with pytest.raises(InvalidInputError) as refused:
        check_commit(commit, DID, REV_US)
    assert refused.value.reason is Reason.COMMIT_REV
