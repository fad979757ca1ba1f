"""A PDS: the XRPC methods that a backfill, a login and a comparison need.

Error bodies are those of the reference PDS. Source: https://github.com/bluesky-social/atproto/tree/main/lexicons
"""

from __future__ import annotations

import asyncio
import json
import secrets
from bisect import bisect_left
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aiohttp import web

from .dagcbor import cid_text, decode, to_json
from .host import as_file, as_json
from .oauth import AuthorizationServer
from .oauth.errors import OAuthError
from .reply import Reply
from .tid import Clock
from .xrpc import XrpcError, XrpcHost, limit_param, param, repo_status, repos_page

if TYPE_CHECKING:
    from .account import Account, Status

_UNAVAILABLE = {
    "deactivated": ("RepoDeactivated", "Repo has been deactivated: "),
    "suspended": ("RepoSuspended", "Repo has been suspended: "),
    "takendown": ("RepoTakendown", "Repo has been takendown: "),
    "deleted": ("RepoNotFound", "Could not find repo for DID: "),
}


class Pds(XrpcHost):
    """A PDS and its accounts; `departed` holds those that have moved away.

    `resolvers` is shared by the PDSes of a world: any of them resolves any handle.
    """

    def __init__(self, name: str, resolvers: Mapping[str, Account], port: int = 0, clock: Clock | None = None) -> None:
        super().__init__(name, port, clock)
        self.accounts: dict[str, Account] = {}
        self.departed: dict[str, Account] = {}
        self._everyone = resolvers
        self._sessions: dict[str, str] = {}
        self._writing = asyncio.Lock()
        self.authorization = AuthorizationServer(self.url, self._who_may_sign_in)
        self.methods |= {
            "com.atproto.sync.getRepo": self._get_repo,
            "com.atproto.sync.getLatestCommit": self._get_latest_commit,
            "com.atproto.sync.getRepoStatus": self._get_repo_status,
            "com.atproto.sync.listRepos": self._list_repos,
            "com.atproto.repo.describeRepo": self._describe_repo,
            "com.atproto.repo.getRecord": self._get_record,
            "com.atproto.repo.listRecords": self._list_records,
            "com.atproto.identity.resolveHandle": self._resolve_handle,
            "com.atproto.server.createSession": self._create_session,
            "com.atproto.server.getSession": self._get_session,
            "com.atproto.server.describeServer": self._describe_server,
            "com.atproto.server.getServiceAuth": self._get_service_auth,
        }

    async def respond(self, request: web.Request) -> Reply:
        if request.path == "/.well-known/atproto-did":
            return self._well_known(request)
        reply = await self.authorization.respond(request)
        return await super().respond(request) if reply is None else reply

    # -- com.atproto.sync

    async def _get_repo(self, request: web.Request) -> Reply:
        account = self._available(param(request, "did"))
        since = request.query.get("since")
        path = account.written_car(since)
        if path is None:
            async with self._writing:
                path = await asyncio.to_thread(account.car, since)
        return as_file(path, "application/vnd.ipld.car")

    async def _get_latest_commit(self, request: web.Request) -> Reply:
        head = self._available(param(request, "did")).repo.head
        return as_json({"cid": cid_text(head.cid), "rev": head.rev})

    async def _get_repo_status(self, request: web.Request) -> Reply:
        did = param(request, "did")
        return repo_status(did, *self._find(did))

    async def _list_repos(self, request: web.Request) -> Reply:
        return repos_page(self.accounts, request)

    # -- com.atproto.repo

    async def _describe_repo(self, request: web.Request) -> Reply:
        account = self._available(param(request, "repo"))
        collections = sorted({key.partition(b"/")[0].decode() for key in account.repo.sorted_keys()})
        described: dict[str, Any] = {"handle": account.handle, "did": account.did, "didDoc": account.document()}
        return as_json(described | {"collections": collections, "handleIsCorrect": True})

    async def _get_record(self, request: web.Request) -> Reply:
        account = self._available(param(request, "repo"))
        key = f"{param(request, 'collection')}/{param(request, 'rkey')}"
        record = _record(account, key.encode())
        if record is None:
            raise XrpcError("RecordNotFound", f"Could not locate record: at://{account.did}/{key}")
        return as_json(record)

    async def _list_records(self, request: web.Request) -> Reply:
        """Pages of a collection; newest rkey first, unless `reverse`."""
        account = self._available(param(request, "repo"))
        prefix = f"{param(request, 'collection')}/"
        limit, cursor = limit_param(request, 50, 100), request.query.get("cursor")
        every = account.repo.sorted_keys()
        low, high = bisect_left(every, prefix.encode()), bisect_left(every, prefix[:-1].encode() + b"0")
        if request.query.get("reverse") == "true":
            low = low if cursor is None else bisect_left(every, f"{prefix}{cursor}\0".encode())
            page = list(every[low:high][:limit])
        else:
            high = high if cursor is None else bisect_left(every, f"{prefix}{cursor}".encode())
            page = list(reversed(every[max(low, high - limit) : high]))
        more = {"cursor": page[-1].decode().partition("/")[2]} if page else {}
        return as_json({"records": [_record(account, key) for key in page]} | more)

    # -- com.atproto.identity and .server

    async def _resolve_handle(self, request: web.Request) -> Reply:
        account = self._everyone.get(param(request, "handle").lower())
        if account is None:
            raise XrpcError("InvalidRequest", "Unable to resolve handle")
        return as_json({"did": account.did})

    async def _describe_server(self, request: web.Request) -> Reply:
        return as_json({"did": "did:web:localhost", "availableUserDomains": [".sim.test"], "inviteCodeRequired": False})

    async def _create_session(self, request: web.Request) -> Reply:
        try:
            asked = json.loads(await request.text())
            account = self._local(asked["identifier"])
            password = asked["password"]
        except (ValueError, KeyError, TypeError):
            raise XrpcError("InvalidRequest", "Error: Input must have identifier and password") from None
        if account is None or password != account.password:
            raise XrpcError("AuthenticationRequired", "Invalid identifier or password", 401)
        token = secrets.token_urlsafe(24)
        self._sessions[token] = account.did
        session = {"accessJwt": token, "refreshJwt": token, "handle": account.handle, "did": account.did}
        return as_json(session | {"active": account.status == "active"})

    async def _get_session(self, request: web.Request) -> Reply:
        """Whose OAuth token it is; legacy sessions do without this method."""
        try:
            account = self.accounts[self.authorization.account_of(request)]
        except OAuthError as error:
            headers = {"WWW-Authenticate": f'DPoP error="{error.code}"', "DPoP-Nonce": self.authorization.proofs.nonce}
            return as_json({"error": error.code, "message": error.description}, 401, headers)
        return as_json({"did": account.did, "handle": account.handle, "active": account.status == "active"})

    async def _get_service_auth(self, request: web.Request) -> Reply:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        did = self._sessions.get(token)
        if did is None or did not in self.accounts:
            raise XrpcError("AuthMissing", "Authentication Required", 401)
        exp = request.query.get("exp")
        claims = {} if exp is None else {"exp": int(exp)}
        lxm = request.query.get("lxm")
        return as_json({"token": self.accounts[did].service_auth(param(request, "aud"), lxm, **claims)})

    def _well_known(self, request: web.Request) -> Reply:
        account = self._everyone.get(request.host.partition(":")[0].lower())
        if account is None:
            return Reply(b"User not found", "text/plain", 404)
        return Reply(account.did.encode(), "text/plain")

    # -- accounts

    def _find(self, did: str) -> tuple[Account | None, Status]:
        if did in self.departed:
            return self.departed[did], "deactivated"
        account = self.accounts.get(did)
        return account, "deleted" if account is None else account.status

    def _available(self, actor: str) -> Account:
        local = self._local(actor)
        did = actor if local is None else local.did
        account, status = self._find(did)
        if account is None or status != "active":
            raise _unavailable(did, status)
        return account

    def _who_may_sign_in(self, actor: str) -> Account | None:
        """A deactivated account may, to come back."""
        account = self._local(actor)
        return account if account is not None and account.status in ("active", "deactivated") else None

    def _local(self, actor: str) -> Account | None:
        """The account of a DID or handle on this PDS."""
        account = self.accounts.get(actor) or self._everyone.get(actor)
        return account if account is not None and account.host is self else None


def _unavailable(did: str, status: str) -> XrpcError:
    name, message = _UNAVAILABLE[status]
    return XrpcError(name, message + did)


def _record(account: Account, key: bytes) -> dict[str, Any] | None:
    stored = account.repo.find(key)
    if stored is None:
        return None
    value = to_json(decode(stored.block), nul="\0")
    return {"uri": f"at://{account.did}/{key.decode()}", "cid": cid_text(stored.cid), "value": value}
