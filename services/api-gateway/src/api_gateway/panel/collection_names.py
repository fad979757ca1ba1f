"""What people call collections; pure. One that somebody else has invented goes by its NSID alone."""

from __future__ import annotations

from typing import Final

_NAMES: Final = {
    "app.bsky.actor.contentVisibilityDeclaration": "Visibility",
    "app.bsky.actor.profile": "Profile",
    "app.bsky.actor.status": "Status",
    "app.bsky.feed.generator": "Feeds",
    "app.bsky.feed.like": "Likes",
    "app.bsky.feed.post": "Posts",
    "app.bsky.feed.postgate": "Quote rules",
    "app.bsky.feed.repost": "Reposts",
    "app.bsky.feed.threadgate": "Reply rules",
    "app.bsky.graph.block": "Blocks",
    "app.bsky.graph.follow": "Follows",
    "app.bsky.graph.list": "Lists",
    "app.bsky.graph.listblock": "Blocked lists",
    "app.bsky.graph.listitem": "List members",
    "app.bsky.graph.starterpack": "Starter packs",
    "app.bsky.graph.verification": "Verifications",
    "app.bsky.labeler.service": "Labeler",
    "app.bsky.notification.declaration": "Notification settings",
    "chat.bsky.actor.declaration": "Chat settings",
    "site.standard.document": "Documents",
    "site.standard.graph.recommend": "Recommendations",
    "site.standard.graph.subscription": "Subscriptions",
    "site.standard.publication": "Publications",
}


def collection_name(nsid: str) -> str:
    """The plain word for a collection; empty for one that has none."""
    return _NAMES.get(nsid, "")
