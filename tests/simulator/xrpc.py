"""What PDSes and relays have in common: XRPC methods, a firehose, and lists of repos.

Source: https://atproto.com/specs/xrpc, https://github.com/bluesky-social/atproto/tree/main/lexicons
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from aiohttp import web

from .dagcbor import cid_text
from .host import Host, as_json
from .reply import Reply
from .stream import Stream
from .subscription import SUBSCRIBE_REPOS, Subscriptions
from .tid import Clock

if TYPE_CHECKING:
    from .account import Account, Status

_XRPC = "/xrpc/"


class XrpcError(Exception):
    """An error that a method answers with."""

    def __init__(self, name: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.reply = as_json({"error": name, "message": message}, status)


Method = Callable[[web.Request], Awaitable[Reply]]


class XrpcHost(Host):
    """A host of the atmosphere; `stream` is what its com.atproto.sync.subscribeRepos tells."""

    def __init__(self, name: str, port: int = 0, clock: Clock | None = None, first_seq: int = 1) -> None:
        super().__init__(name, port)
        self.stream = Stream(clock, first_seq)
        self.subscriptions = Subscriptions(self.stream)
        self.methods: dict[str, Method] = {"_health": _health}
        self.upgrades[_XRPC + SUBSCRIBE_REPOS] = self.subscriptions.serve

    async def respond(self, request: web.Request) -> Reply:
        method = self.methods.get(request.path.removeprefix(_XRPC))
        if method is None or not request.path.startswith(_XRPC):
            return as_json({"error": "MethodNotImplemented", "message": "Method Not Implemented"}, 501)
        try:
            return await method(request)
        except XrpcError as error:
            return error.reply

    async def stop(self) -> None:
        self.stream.disconnect()
        await super().stop()


async def _health(request: web.Request) -> Reply:
    return as_json({"version": "simulator"})


def repo_status(did: str, account: Account | None, status: Status) -> Reply:
    """The answer of com.atproto.sync.getRepoStatus."""
    if account is None or status == "deleted":
        raise XrpcError("RepoNotFound", "Could not find repo for DID: " + did)
    if status != "active":
        return as_json({"did": did, "active": False, "status": status})
    return as_json({"did": did, "active": True, "rev": account.repo.rev})


def repos_page(accounts: Mapping[str, Account], request: web.Request) -> Reply:
    """A page of com.atproto.sync.listRepos, by DID."""
    limit = limit_param(request, 500, 1000)
    everyone = sorted(did for did in accounts if accounts[did].status != "deleted")
    start = bisect_left(everyone, request.query.get("cursor", "") + "\0")
    page = everyone[start : start + limit]
    repos = []
    for did in page:
        account = accounts[did]
        entry = {"did": did, "head": cid_text(account.repo.head.cid), "rev": account.repo.rev}
        inactive = {} if account.status == "active" else {"status": account.status}
        repos.append(entry | {"active": account.status == "active"} | inactive)
    more = {"cursor": page[-1]} if start + limit < len(everyone) else {}
    return as_json({"repos": repos} | more)


def param(request: web.Request, name: str) -> str:
    """A required parameter of a query."""
    value = request.query.get(name)
    if value is None:
        raise XrpcError("InvalidRequest", f'Error: Params must have the property "{name}"')
    return value


def limit_param(request: web.Request, usual: int, most: int) -> int:
    """The parameter `limit` of a query."""
    text = request.query.get("limit", str(usual))
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise XrpcError("InvalidRequest", f"Error: limit must be between 1 and {most}")
    return int(text)
