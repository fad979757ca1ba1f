from __future__ import annotations

from typing import Any

import pytest

from headwater.subject import MAX_SUBJECT_BYTES, subject_of

URI = "at://did:plc:abc/app.bsky.feed.post/3jx2sj3hs2222"


@pytest.mark.parametrize(
    ("record", "subject"),
    [
        ({"subject": {"uri": URI, "cid": "bafy"}}, URI),
        ({"subject": "did:plc:abc"}, "did:plc:abc"),
        ({"reply": {"root": {"uri": "at://root"}, "parent": {"uri": URI}}}, URI),
        ({"subject": None, "reply": {"parent": {"uri": URI}}}, URI),
        ({"subject": "https://example.com/"}, "https://example.com/"),
        ({"subject": "a" * MAX_SUBJECT_BYTES}, "a" * MAX_SUBJECT_BYTES),
    ],
)
def test_a_record_points_at_its_subject(record: dict[str, Any], subject: str) -> None:
    assert subject_of(record) == subject


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"text": "hello"},
        {"subject": ""},
        {"subject": 7},
        {"subject": True},
        {"subject": []},
        {"subject": [URI]},
        {"subject": {}},
        {"subject": {"uri": 7}},
        {"subject": {"uri": {"uri": URI}}},
        {"subject": {"$link": "bafy"}},
        {"subject": "a\0b"},
        {"subject": "a" * (MAX_SUBJECT_BYTES + 1)},
        {"subject": "é" * (MAX_SUBJECT_BYTES // 2 + 1)},
        {"reply": "hello"},
        {"reply": {}},
        {"reply": {"parent": None}},
        {"reply": {"parent": [URI]}},
        {"reply": {"root": {"uri": URI}}},
    ],
)
def test_a_record_without_a_usable_subject_has_none(record: dict[str, Any]) -> None:
    assert subject_of(record) is None
