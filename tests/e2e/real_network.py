"""A real PLC directory and a real PDS, from npm, and what apps do to accounts on it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from headwater_local.ports import take_port

HERE = Path(__file__).parent / "pds"
_START_SECONDS = 60.0
PASSWORD = "correct horse battery"


def require_real_pds() -> None:
    """Skip the calling test where npm is missing; in CI that is a failure, never a skip."""
    if shutil.which("npm") is None:
        message = "npm is not installed: the tests against a real PDS need it"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    subprocess.run([HERE / "install.sh"], check=True, timeout=900)


@dataclass(frozen=True)
class Account:
    """An account on the real PDS, with the token that its app would hold."""

    did: str
    handle: str
    access: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access}"}


class RealNetwork:
    """The running servers. All methods raise httpx.HTTPStatusError when the PDS refuses."""

    def __init__(self, plc_url: str, pds_url: str, admin_password: str) -> None:
        self.plc_url = plc_url
        self.pds_url = pds_url
        self._admin = ("admin", admin_password)
        self._http = httpx.AsyncClient(base_url=f"{pds_url}/xrpc/", timeout=60, trust_env=False)

    async def close(self) -> None:
        await self._http.aclose()

    async def create_account(self, handle: str, password: str = PASSWORD) -> Account:
        body = {"handle": handle, "password": password, "email": f"{handle}@example.test"}
        made = await self._post("com.atproto.server.createAccount", body, {})
        return Account(made["did"], made["handle"], made["accessJwt"])

    async def create(self, account: Account, collection: str, record: dict[str, Any], rkey: str | None = None) -> str:
        """Create a record; returns its rkey."""
        body: dict[str, Any] = {"repo": account.did, "collection": collection, "record": record, "validate": False}
        if rkey is not None:
            body["rkey"] = rkey
        made = await self._post("com.atproto.repo.createRecord", body, account.headers)
        return str(made["uri"]).rsplit("/", 1)[1]

    async def put(self, account: Account, collection: str, rkey: str, record: dict[str, Any]) -> None:
        body = {"repo": account.did, "collection": collection, "rkey": rkey, "record": record, "validate": False}
        await self._post("com.atproto.repo.putRecord", body, account.headers)

    async def delete(self, account: Account, collection: str, rkey: str) -> None:
        body = {"repo": account.did, "collection": collection, "rkey": rkey}
        await self._post("com.atproto.repo.deleteRecord", body, account.headers)

    async def apply_writes(self, account: Account, writes: list[dict[str, Any]]) -> None:
        """Up to 200 writes in one commit."""
        body = {"repo": account.did, "writes": writes, "validate": False}
        await self._post("com.atproto.repo.applyWrites", body, account.headers)

    async def list_records(self, did: str) -> dict[tuple[str, str], tuple[str, Any]]:
        """All records of a repo as the PDS itself lists them: (collection, rkey) -> (cid, value)."""
        described = await self.describe(did)
        found: dict[tuple[str, str], tuple[str, Any]] = {}
        for collection in described["collections"]:
            cursor = ""
            while True:
                query = {"repo": did, "collection": collection, "limit": "100"} | ({"cursor": cursor} if cursor else {})
                page = await self._get("com.atproto.repo.listRecords", query)
                for item in page["records"]:
                    found[collection, str(item["uri"]).rsplit("/", 1)[1]] = (item["cid"], item["value"])
                cursor = page.get("cursor", "")
                if not cursor:
                    break
        return found

    async def describe(self, did: str) -> dict[str, Any]:
        """What the PDS's describeRepo says: handle, collections, and so on."""
        return await self._get("com.atproto.repo.describeRepo", {"repo": did})

    async def repo_status(self, did: str) -> str:
        """What the PDS says of an account: active, or why it is not; not_found when it knows no such account."""
        answer = await self._http.get("com.atproto.sync.getRepoStatus", params={"did": did})
        if answer.status_code == 400:
            return "not_found"
        told = _checked(answer)
        return "active" if told["active"] else str(told.get("status"))

    async def service_auth(self, account: Account, aud: str, lxm: str) -> str:
        """A service-auth JWT as an app gets it from its user's PDS."""
        made = await self._get("com.atproto.server.getServiceAuth", {"aud": aud, "lxm": lxm}, account.headers)
        return str(made["token"])

    async def deactivate(self, account: Account) -> None:
        await self._post("com.atproto.server.deactivateAccount", {}, account.headers)

    async def activate(self, account: Account) -> None:
        await self._post("com.atproto.server.activateAccount", None, account.headers)

    async def take_down(self, account: Account) -> None:
        subject = {"$type": "com.atproto.admin.defs#repoRef", "did": account.did}
        body = {"subject": subject, "takedown": {"applied": True, "ref": "test"}}
        await self._post("com.atproto.admin.updateSubjectStatus", body, {}, auth=self._admin)

    async def delete_account(self, account: Account) -> None:
        await self._post("com.atproto.admin.deleteAccount", {"did": account.did}, {}, auth=self._admin)

    async def change_handle(self, account: Account, handle: str) -> None:
        await self._post("com.atproto.identity.updateHandle", {"handle": handle}, account.headers)

    async def _post(
        self, method: str, body: Any, headers: dict[str, str], auth: tuple[str, str] | None = None
    ) -> dict[str, Any]:
        content = b"" if body is None else json.dumps(body).encode()
        typed = {} if body is None else {"Content-Type": "application/json"}
        answer = await self._http.post(method, content=content, headers=headers | typed, auth=auth)
        return _checked(answer)

    async def _get(self, method: str, query: dict[str, str], headers: dict[str, str] | None = None) -> dict[str, Any]:
        return _checked(await self._http.get(method, params=query, headers=headers or {}))


def record(collection: str, age_days: int = 0, **fields: Any) -> dict[str, Any]:
    """A record of so many days ago."""
    created_at = (datetime.now(UTC) - timedelta(days=age_days)).isoformat(timespec="milliseconds")
    return {"$type": collection, "createdAt": created_at.replace("+00:00", "Z"), **fields}


def created(collection: str, value: dict[str, Any]) -> dict[str, Any]:
    """A write for applyWrites."""
    return {"$type": "com.atproto.repo.applyWrites#create", "collection": collection, "value": value}


async def listed(network: RealNetwork, account: Account) -> dict[tuple[str, str], tuple[str, Any]]:
    """What the PDS lists, as the table should hold it."""
    return {key: (cid, _as_stored(value)) for key, (cid, value) in (await network.list_records(account.did)).items()}


def _as_stored(value: Any) -> Any:
    """A listed value as jsonb holds it: U+0000 is replaced."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd")
    if isinstance(value, list):
        return [_as_stored(item) for item in value]
    if isinstance(value, dict):
        return {_as_stored(key): _as_stored(item) for key, item in value.items()}
    return value


def _checked(answer: httpx.Response) -> dict[str, Any]:
    if answer.is_error:
        raise httpx.HTTPStatusError(
            f"{answer.status_code}: {answer.text[:300]}", request=answer.request, response=answer
        )
    parsed: dict[str, Any] = answer.json() if answer.content else {}
    return parsed


@contextmanager
def real_servers(**variables: str) -> Iterator[dict[str, str]]:
    """Run the real PLC directory and PDS, with ``variables``; yields plc_url, pds_url and admin_password."""
    require_real_pds()
    node = next(HERE.glob("node_modules/node-*64/bin/node"))
    with tempfile.TemporaryDirectory(prefix="headwater-pds-") as directory:
        ports = [str(take_port()), str(take_port())]
        command = [str(node), "--import", "./names.mjs", "serve.mjs", directory, *ports]
        environment = {**os.environ, **variables}
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=HERE, env=environment
        ) as process:
            try:
                line = process.stdout.readline() if process.stdout else b""
                if not line:
                    raise RuntimeError(f"the PDS ended at start with {process.wait(_START_SECONDS)}")
                yield json.loads(line)
            finally:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
