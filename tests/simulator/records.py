"""Records as real accounts hold them: shapes, sizes and mix of the network, like-heavy.

The maps are written in canonical DAG-CBOR order (shorter keys first), so that `encode_ordered` can take them.
Shapes: https://github.com/bluesky-social/atproto/tree/main/lexicons
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from random import Random
from typing import Any

from .dagcbor import Link, cid_of, cid_text, encode_ordered, raw_cid
from .tid import DEFAULT_NOW_US, iso, tid

Record = dict[str, Any]

#: Years of history that a seeded account has, in microseconds.
HISTORY_US = 2 * 365 * 86_400_000_000

_POOL = 2048
_DID_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_WORDS = (
    "the a of and to in is it you that was for on are with as his they be at one have this from or had by hot but some "
    "what there we can out other were all your when up use word how said an each she which do their time if will way "
    "sky blue network protocol birds coffee morning garden bicycle rain music painting library museum train bread "
    "löwe straße café niño 空 青い 友達 привет спасибо 하늘 🌈 🦋 ☕ 👩‍👩‍👧‍👧"
)
_LANGS = ("en", "en", "en", "ja", "pt-BR", "de", "es", "ko")


def did_plc(rng: Random) -> str:
    """A did:plc nobody has registered."""
    return "did:plc:" + "".join(rng.choices(_DID_ALPHABET, k=24))


class Author:
    """Writes records of every common kind; the same ones for the same state of `rng`."""

    def __init__(self, rng: Random, did: str) -> None:
        self._rng = rng
        self._words = _WORDS.split()
        self._did = did
        self._dids, self._posts = _others()

    def like(self, us: int) -> Record:
        record: Record = {"via": self._any_post()} if self._rng.random() < 0.05 else {}
        return record | {"$type": "app.bsky.feed.like", "subject": self._any_post(), "createdAt": iso(us)}

    def repost(self, us: int) -> Record:
        return {"$type": "app.bsky.feed.repost", "subject": self._any_post(), "createdAt": iso(us)}

    def follow(self, us: int) -> Record:
        return {"$type": "app.bsky.graph.follow", "subject": self._any_did(), "createdAt": iso(us)}

    def block(self, us: int) -> Record:
        return {"$type": "app.bsky.graph.block", "subject": self._any_did(), "createdAt": iso(us)}

    def list(self, us: int) -> Record:
        return {
            "name": self._text(3),
            "$type": "app.bsky.graph.list",
            "purpose": "app.bsky.graph.defs#curatelist",
            "createdAt": iso(us),
            "description": self._text(12),
        }

    def list_item(self, us: int) -> Record:
        return {
            "list": f"at://{self._did}/app.bsky.graph.list/{tid(us - 1_000_000)}",
            "$type": "app.bsky.graph.listitem",
            "subject": self._any_did(),
            "createdAt": iso(us),
        }

    def threadgate(self, us: int) -> Record:
        return {
            "post": f"at://{self._did}/app.bsky.feed.post/{tid(us)}",
            "$type": "app.bsky.feed.threadgate",
            "allow": [{"$type": "app.bsky.feed.threadgate#mentionRule"}],
            "createdAt": iso(us),
            "hiddenReplies": [self._any_post()["uri"]],
        }

    def document(self, us: int) -> Record:
        return {
            "path": f"/{self._rng.randrange(10**6)}",
            "site": "https://blog.example.com",
            "$type": "site.standard.document",
            "title": self._text(5),
            "publishedAt": iso(us),
            "textContent": self._text(80),
        }

    def reading(self, us: int) -> Record:
        """Of a lexicon that somebody invented, with a byte string."""
        return {
            "raw": self._rng.randbytes(16),
            "$type": "com.example.weather.reading",
            "celsius": self._rng.randrange(-30, 45),
            "createdAt": iso(us),
        }

    def profile(self, us: int) -> Record:
        return {
            "$type": "app.bsky.actor.profile",
            "avatar": self._blob("image/jpeg"),
            "createdAt": iso(us),
            "description": self._text(15),
            "displayName": self._text(2),
        }

    def post(self, us: int) -> Record:
        rng = self._rng
        text = self._text(rng.randrange(3, 45))
        record: Record = {"text": text, "$type": "app.bsky.feed.post"}
        if rng.random() < 0.3:
            record["embed"] = self._embed()
        record["langs"] = [_LANGS[int(rng.random() * len(_LANGS))]]
        if rng.random() < 0.5:
            parent = self._any_post()
            record["reply"] = {"root": self._any_post() if rng.random() < 0.5 else parent, "parent": parent}
        if rng.random() < 0.2:
            record["facets"] = [self._facet(len(text.encode()))]
        record["createdAt"] = iso(us)
        return record

    def _embed(self) -> Record:
        kind = self._rng.random()
        if kind < 0.5:
            image: Record = {"alt": self._text(6), "image": self._blob("image/jpeg")}
            image["aspectRatio"] = {"width": 2000, "height": 1500}
            return {"$type": "app.bsky.embed.images", "images": [image]}
        if kind < 0.8:
            external = {
                "uri": f"https://news.example.com/{self._rng.randrange(10**8)}",
                "title": self._text(7),
                "description": self._text(20),
            }
            return {"$type": "app.bsky.embed.external", "external": external}
        return {"$type": "app.bsky.embed.record", "record": self._any_post()}

    def _facet(self, length: int) -> Record:
        feature = {"did": self._any_did(), "$type": "app.bsky.richtext.facet#mention"}
        if self._rng.random() < 0.5:
            feature = {"uri": "https://example.com/a", "$type": "app.bsky.richtext.facet#link"}
        return {"index": {"byteEnd": length, "byteStart": 0}, "features": [feature]}

    def _blob(self, mime_type: str) -> Record:
        content = self._rng.randbytes(8)
        return {"ref": Link(raw_cid(content)), "size": 100_000 + content[0], "$type": "blob", "mimeType": mime_type}

    def _text(self, words: int) -> str:
        return " ".join(self._rng.choices(self._words, k=words))

    def _any_did(self) -> str:
        return self._dids[int(self._rng.random() * len(self._dids))]

    def _any_post(self) -> Record:
        return self._posts[int(self._rng.random() * _POOL)]


@cache
def _others() -> tuple[list[str], list[Record]]:
    """Accounts elsewhere and posts of theirs (as strong references), the same for all authors."""
    rng = Random("others")
    dids = [did_plc(rng) for _ in range(_POOL // 4)]
    posts = []
    for _ in range(_POOL):
        written = DEFAULT_NOW_US - rng.randrange(HISTORY_US)
        uri = f"at://{rng.choice(dids)}/app.bsky.feed.post/{tid(written, 3)}"
        posts.append({"cid": cid_text(cid_of(uri.encode())), "uri": uri})
    return dids, posts


#: Collection, share of the records, method of Author that writes it. Posts get what is left.
_MIX: tuple[tuple[str, float, Callable[[Author, int], Record]], ...] = (
    ("app.bsky.feed.like", 0.62, Author.like),
    ("app.bsky.feed.repost", 0.11, Author.repost),
    ("app.bsky.graph.follow", 0.11, Author.follow),
    ("app.bsky.graph.block", 0.01, Author.block),
    ("app.bsky.graph.list", 0.002, Author.list),
    ("app.bsky.graph.listitem", 0.01, Author.list_item),
    ("app.bsky.feed.threadgate", 0.005, Author.threadgate),
    ("com.example.weather.reading", 0.003, Author.reading),
    ("site.standard.document", 0.001, Author.document),
)


def generate(rng: Random, did: str, now_us: int, count: int) -> Iterator[tuple[bytes, bytes]]:
    """`count` (repo key, block) pairs in key order, spread over the two years before `now_us`."""
    author = Author(rng, did)
    shares = [(name, int(count * share), write) for name, share, write in _MIX]
    shares.append(("app.bsky.actor.profile", min(count, 1), Author.profile))
    shares.append(("app.bsky.feed.post", count - sum(number for _, number, _ in shares), Author.post))
    for collection, number, write in sorted(shares, key=lambda share: share[0] + "/"):
        if collection == "app.bsky.actor.profile":
            keys = [("self", now_us - HISTORY_US)] * number
        else:
            keys = [(tid(us), us) for us in _moments(rng, now_us, number)]
        for rkey, us in keys:
            yield f"{collection}/{rkey}".encode(), encode_ordered(write(author, us))


def _moments(rng: Random, now_us: int, count: int) -> list[int]:
    """Ascending, distinct times in the two years before `now_us`."""
    if not count:
        return []
    step = (HISTORY_US - 1_000_000) // count
    start = now_us - HISTORY_US
    return [start + position * step + int(rng.random() * (step - 1)) for position in range(count)]
