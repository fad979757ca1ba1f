"""Records that are valid and yet trip careless readers."""

from __future__ import annotations

from typing import Any

from .dagcbor import Link, cid_of, raw_cid
from .tid import iso, tid

_YEAR_US = 365 * 86_400_000_000


def odd_records(now_us: int) -> list[tuple[str, str, dict[str, Any]]]:
    """(collection, rkey, record) of each kind; times are relative to `now_us`."""
    rkey = tid(now_us, 9)
    created = iso(now_us)
    post = {"$type": "app.bsky.feed.post", "createdAt": created}
    nested: object = "bottom"
    for _ in range(15):
        nested = {"in": [nested]}
    return [
        ("app.bsky.feed.post", tid(now_us, 1), post | {"text": "before\x00after"}),
        ("com.example.odd.nulkey", rkey, {"$type": "com.example.odd.nulkey", "a\x00b": ["\x00"], "createdAt": created}),
        (
            "com.example.odd.bytes",
            rkey,
            {
                "$type": "com.example.odd.bytes",
                "empty": b"",
                "raw": bytes(range(256)),
                "likeACid": b"\x00" + cid_of(b"not a link"),
                "link": Link(cid_of(b"elsewhere")),
                "blobs": [Link(raw_cid(b"blob")), {"deep": [b"\xff"]}],
            },
        ),
        (
            "com.example.odd.numbers",
            rkey,
            {
                "$type": "com.example.odd.numbers",
                "max": 2**63 - 1,
                "min": -(2**63),
                "zero": 0,
                "safe": 2**53,
                "yes": True,
                "no": False,
                "nothing": None,
            },
        ),
        ("com.example.odd.empty", rkey, {"$type": "com.example.odd.empty", "": "", "list": [], "map": {}}),
        ("com.example.odd.nested", rkey, {"$type": "com.example.odd.nested", "value": nested}),
        (
            "com.example.odd.undated",
            "no-date",
            {"$type": "com.example.odd.undated", "note": "neither createdAt nor TID"},
        ),
        ("com.example.odd.undated", "a-_.:~Z9", {"$type": "com.example.odd.undated", "createdAt": "yesterday"}),
        ("com.example.odd.undated", "2222222222222", {"$type": "com.example.odd.undated", "note": "TID of 1970"}),
        ("com.example.odd.undated", "k" * 512, {"$type": "com.example.odd.undated", "createdAt": 1717200000}),
        # An importer of old posts writes them today under their old date: that date counts.
        ("app.bsky.feed.post", tid(now_us, 2), post | {"text": "imported", "createdAt": "2009-03-01T12:00:00.000Z"}),
        # A date in the future does not make a record younger than its TID.
        (
            "app.bsky.feed.post",
            tid(now_us - _YEAR_US, 2),
            post | {"text": "dated ahead", "createdAt": "2999-01-01T00:00:00Z"},
        ),
        (
            "app.bsky.feed.post",
            tid(now_us, 3),
            post | {"text": "with an offset", "createdAt": "2024-02-29T23:59:59.123456+09:00"},
        ),
        ("app.bsky.feed.post", tid(now_us, 4), post | {"text": "", "langs": []}),
        (
            "app.bsky.feed.post",
            tid(now_us, 5),
            post | {"text": '\\u0000 is text, "quoted"\n\t\x01\x7f\u2028 𝕏 👩‍👩‍👧‍👧'},
        ),
        ("com.example.odd.large", rkey, {"$type": "com.example.odd.large", "text": "long " * 6000}),
        (
            "app.bsky.feed.generator",
            "legacy-blob",
            {
                "$type": "app.bsky.feed.generator",
                "did": "did:web:feeds.example.com",
                "displayName": "feed",
                "createdAt": created,
                "avatar": {"cid": Link(raw_cid(b"old")).text, "mimeType": "image/png"},
            },
        ),
        ("com.example.odd.twin", "one", {"$type": "com.example.odd.twin", "same": True}),
        ("com.example.odd.twin", "two", {"$type": "com.example.odd.twin", "same": True}),
    ]
