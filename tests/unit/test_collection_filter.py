"""Which collections a filter wants, and whether one filter covers another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.collection_filter import CollectionFilter
from headwater.errors import InvalidInputError, Reason

POST, LIKE, PROFILE, OTHER = "app.bsky.feed.post", "app.bsky.feed.like", "app.bsky.actor.profile", "com.example.thing"
ALL = (POST, LIKE, PROFILE, OTHER)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", ALL),
        ("*", ALL),
        ("app.bsky.*, *", ALL),
        (POST, (POST,)),
        (f" {POST} ,, {OTHER}", (POST, OTHER)),
        ("app.bsky.*", (POST, LIKE, PROFILE)),
        ("app.*", (POST, LIKE, PROFILE)),
        ("app.bsky.feed.*,com.example.thing", (POST, LIKE, OTHER)),
        # A prefix ends where a segment ends.
        ("app.bsky.fee.*", ()),
    ],
)
def test_what_is_wanted(text: str, wanted: tuple[str, ...]) -> None:
    assert tuple(collection for collection in ALL if collection in CollectionFilter.parse(text)) == wanted


@pytest.mark.parametrize("text", ["app.bsky", "*.post", "app.*.post", "app.bsky.feed*", ".*", "a b.*", "no spaces.x.y"])
def test_what_is_no_collection_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        CollectionFilter.parse(text)
    assert refused.value.reason is Reason.SYNTAX


def test_the_text_does_not_depend_on_the_order() -> None:
    one, other = CollectionFilter.parse("b.b.b, a.a.*"), CollectionFilter.parse("a.a.*,b.b.b,b.b.b")
    assert one == other
    assert one.text == "a.a.*,b.b.b"


patterns = st.lists(
    st.sampled_from([POST, LIKE, OTHER, "app.*", "app.bsky.*", "app.bsky.feed.*", "com.example.*"]), max_size=3
)


@given(patterns, patterns)
def test_covering_means_that_nothing_of_the_other_is_missing(first: list[str], second: list[str]) -> None:
    one, other = CollectionFilter(first), CollectionFilter(second)
    probes = [*ALL, "app.other.thing", "app.bsky.graph.follow", "app.bsky.feed.repost", "com.example.else", "net.a.b"]
    if one.covers(other):
        assert all(probe in one for probe in probes if probe in other)
    else:
        assert any(probe in other and probe not in one for probe in probes)
