"""A relay: one firehose for the accounts of many PDSes, and the lists that a crawl needs.

Source: https://atproto.com/specs/sync, https://github.com/bluesky-social/atproto/tree/main/lexicons
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from .dagcbor import cid_text
from .events import Event
from .host import as_json
from .pds import Pds
from .reply import Reply
from .tid import Clock
from .xrpc import XrpcError, XrpcHost, limit_param, param, repo_status, repos_page

if TYPE_CHECKING:
    from .account import Account


class Relay(XrpcHost):
    """Tells what happens to the accounts that it sees.

    `unseen` are DIDs that it knows nothing of, `unseen_hosts` PDSes that it does not follow; `unlisted_hosts` are
    PDSes whose events it tells while its listRepos leaves out their accounts.
    """

    def __init__(
        self,
        name: str,
        accounts: Callable[[], Iterable[Account]],
        hosts: Callable[[], Iterable[Pds]],
        clock: Clock,
        *,
        port: int = 0,
        first_seq: int = 1,
    ) -> None:
        super().__init__(name, port, clock, first_seq)
        self.unseen: set[str] = set()
        self.unseen_hosts: set[str] = set()
        self.unlisted_hosts: set[str] = set()
        self._accounts = accounts
        self._hosts = hosts
        self.methods |= {
            "com.atproto.sync.listRepos": self._list_repos,
            "com.atproto.sync.getRepoStatus": self._get_repo_status,
            "com.atproto.sync.getLatestCommit": self._get_latest_commit,
            "com.atproto.sync.listHosts": self._list_hosts,
            "com.atproto.sync.getHostStatus": self._get_host_status,
        }

    def sees(self, account: Account) -> bool:
        """Whether the account's PDS is followed, and the account not left out."""
        return account.did not in self.unseen and account.host.name not in self.unseen_hosts

    def tell(self, account: Account, event: Event) -> None:
        """Pass on what an account's PDS has told."""
        if self.sees(account):
            self.stream.append(event)

    async def _list_repos(self, request: web.Request) -> Reply:
        listed = {account.did: account for account in self._seen() if account.host.name not in self.unlisted_hosts}
        return repos_page(listed, request)

    async def _get_repo_status(self, request: web.Request) -> Reply:
        did = param(request, "did")
        account = self._find(did)
        return repo_status(did, account, "deleted" if account is None else account.status)

    async def _get_latest_commit(self, request: web.Request) -> Reply:
        did = param(request, "did")
        account = self._find(did)
        if account is None or account.status != "active":
            raise XrpcError("RepoNotFound", f"Could not find repo for DID: {did}")
        head = account.repo.head
        return as_json({"cid": cid_text(head.cid), "rev": head.rev})

    async def _list_hosts(self, request: web.Request) -> Reply:
        """Pages of the hosts that are followed; the cursor is a position."""
        limit, start = limit_param(request, 200, 1000), request.query.get("cursor", "0")
        if not start.isdecimal():
            raise XrpcError("InvalidRequest", "Error: cursor")
        hosts = self._followed()
        page = hosts[int(start) : int(start) + limit]
        more = {"cursor": str(int(start) + limit)} if int(start) + limit < len(hosts) else {}
        return as_json({"hosts": [self._described(host) for host in page]} | more)

    async def _get_host_status(self, request: web.Request) -> Reply:
        name = param(request, "hostname")
        for host in self._followed():
            if _hostname(host) == name:
                return as_json(self._described(host))
        raise XrpcError("HostNotFound", f"Host not found: {name}")

    def _seen(self) -> list[Account]:
        return [account for account in self._accounts() if self.sees(account)]

    def _find(self, did: str) -> Account | None:
        return next((account for account in self._seen() if account.did == did), None)

    def _followed(self) -> list[Pds]:
        return [host for host in self._hosts() if host.name not in self.unseen_hosts]

    def _described(self, host: Pds) -> dict[str, Any]:
        number = sum(account.host is host for account in self._seen())
        return {"hostname": _hostname(host), "seq": host.stream.last_seq, "accountCount": number, "status": "active"}


def _hostname(host: Pds) -> str:
    return f"127.0.0.1:{host.port}"
