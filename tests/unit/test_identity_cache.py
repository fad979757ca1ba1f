from __future__ import annotations

from headwater.did_document import Identity
from headwater.identity_cache import IdentityCache


def identity(name: str, size: int = 0) -> Identity:
    return Identity(f"did:plc:{name}", None, None, None, b"x" * size)


def test_entries_die_after_their_time() -> None:
    now = 100.0
    cache = IdentityCache(ttl=10, max_bytes=100_000, clock=lambda: now)
    cache.put(identity("a"))
    now = 109.9
    assert cache.get("did:plc:a") == identity("a")
    now = 110.0
    assert cache.get("did:plc:a") is None
    assert len(cache) == 0


def test_the_least_recently_used_goes_first_when_bytes_run_out() -> None:
    cache = IdentityCache(ttl=10, max_bytes=40_000)
    for name in "abc":
        cache.put(identity(name, 10_000))
    assert cache.get("did:plc:a") is not None
    cache.put(identity("d", 10_000))
    assert [cache.get(f"did:plc:{name}") is not None for name in "abcd"] == [True, False, True, True]


def test_what_never_fits_is_not_kept_and_empties_nothing_for_good() -> None:
    cache = IdentityCache(ttl=10, max_bytes=40_000)
    cache.put(identity("huge", 50_000))
    assert cache.get("did:plc:huge") is None
    for _ in range(100):
        cache.put(identity("a", 20_000))
    assert len(cache) == 1
    cache.discard("did:plc:a")
    cache.discard("did:plc:a")
    cache.put(identity("b", 38_000))
    assert cache.get("did:plc:b") is not None
