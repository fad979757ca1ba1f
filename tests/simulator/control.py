"""The world's levers over HTTP, for programs in other processes: JSON on loopback, under `/_sim/`.

GET  world                         what `World.describe` says
GET  counts?did&cutoff_us          expected records per collection
GET  listing?did&cutoff_us&values  expected records as JSON lines: did, collection, rkey, cid (and value)
GET  requests?pds                  the request log of a PDS, by its number, or of the PLC directory without one
GET  expected?cutoff_us            what an index must hold in the end, a JSON line for each account (`ExpectedRepo`)
GET  firehose?of                   seqs and consumers of a PDS's or relay's firehose (of: its name, such as pds0, relay)
POST write     {did, writes: [{action, collection, rkey, record}]}      one commit -> {rev}
POST seed      {did, records} | {did, odd: true} | {did, change: share}  one commit -> {rev}
POST account   {handle?, pds?, curve?} -> {did, handle, password}
POST status    {did, status}
POST rotate    {did, resign?}
POST migrate   {did, pds}
POST rename    {did, handle}
POST tombstone {did}
POST register  {accounts: [{did, handle, multibase}], pds_url}   puts strangers into the PLC directory
POST sync      {did}
POST relay     {first_seq?}   starts a further relay -> what GET firehose says of it
POST firehose  {of, do, …}    do: tamper {kind, did?, times?}, junk {kind}, repeat {count}, jump {by},
                              restart {first_seq?}, disconnect, heal, set {…attributes of Stream and Relay}
POST clock     {now_us} | {advance: seconds} -> {now_us}; forward only, since revs ascend
POST fault     {did | pds, kind, …fields of that class in faults.py; bytes as base64}
POST heal      {}   drops all faults and opens all gates
POST forget    {}   empties the request logs
POST stop      {pds} | {of}, POST start {pds} | {of}
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from . import faults
from .account import Account
from .dagcbor import from_json
from .host import Host, as_json
from .levers import describe_firehose, pull_firehose
from .pds import Pds
from .plc import PublicKey, did_document
from .reply import Reply
from .repo import Write
from .world import World

_FAULTS: dict[str, type[faults.Fault]] = {
    kind.__name__: kind
    for kind in (
        faults.Answer,
        faults.Redirect,
        faults.FlipBit,
        faults.Reset,
        faults.Truncate,
        faults.Slow,
        faults.Endless,
        faults.GzipBomb,
        faults.Hang,
        faults.Gate,
    )
}


class ControlHost(Host):
    """Serves the levers of one world."""

    def __init__(self, world: World, port: int = 0) -> None:
        super().__init__("control", port)
        self._world = world
        self._reads: dict[str, Callable[[dict[str, str]], Reply]] = {
            "world": lambda asked: as_json(world.describe()),
            "counts": self._counts,
            "listing": self._listing,
            "requests": self._requests,
            "expected": self._expected,
            "firehose": lambda asked: as_json(describe_firehose(world.host(asked["of"]))),
        }
        self._levers: dict[str, Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]] = {
            "write": self._write,
            "seed": self._seed,
            "account": self._account,
            "status": self._status,
            "rotate": self._rotate,
            "migrate": self._migrate,
            "rename": self._rename,
            "tombstone": self._tombstone,
            "register": self._register,
            "sync": self._sync,
            "relay": self._relay,
            "firehose": self._firehose,
            "clock": self._clock,
            "fault": self._fault,
            "heal": self._heal,
            "forget": self._forget,
            "stop": self._stop,
            "start": self._start,
        }

    async def respond(self, request: web.Request) -> Reply:
        name = request.path.removeprefix("/_sim/")
        try:
            if request.method == "GET":
                return self._reads[name](dict(request.query))
            return as_json(await self._levers[name](json.loads(await request.text() or "{}")))
        except (KeyError, TypeError, ValueError) as error:
            return as_json({"error": type(error).__name__, "message": str(error)}, 400)

    # -- looking

    def _counts(self, asked: dict[str, str]) -> Reply:
        expected = self._world.account(asked["did"]).expected_cids(_cutoff(asked))
        return as_json(Counter(collection for collection, _ in expected))

    def _listing(self, asked: dict[str, str]) -> Reply:
        account, cutoff_us = self._world.account(asked["did"]), _cutoff(asked)
        lines: list[dict[str, Any]]
        if "values" in asked:
            expected = account.expected(cutoff_us)
            lines = [_line(account, *key) | {"cid": row.cid, "value": row.value} for key, row in expected.items()]
        else:
            lines = [_line(account, *key) | {"cid": cid} for key, cid in account.expected_cids(cutoff_us).items()]
        return Reply("\n".join(map(json.dumps, lines)).encode(), "application/jsonl")

    def _requests(self, asked: dict[str, str]) -> Reply:
        return as_json([seen._asdict() for seen in self._host(asked).requests])

    def _expected(self, asked: dict[str, str]) -> Reply:
        expected = self._world.expected(_cutoff(asked)).values()
        return Reply("\n".join(json.dumps(repo.as_line()) for repo in expected).encode(), "application/jsonl")

    # -- doing

    async def _write(self, asked: dict[str, Any]) -> dict[str, Any]:
        writes = [
            Write(write["action"], write["collection"], write["rkey"], from_json(write.get("record")))
            for write in asked["writes"]
        ]
        return {"rev": self._of(asked).apply_writes(writes)}

    async def _seed(self, asked: dict[str, Any]) -> dict[str, Any]:
        account = self._of(asked)
        if "change" in asked:
            return {"rev": account.change_records(asked["change"])}
        return {"rev": account.seed_odd_records() if asked.get("odd") else account.seed_records(asked["records"])}

    async def _account(self, asked: dict[str, Any]) -> dict[str, Any]:
        host = self._pds(asked) if "pds" in asked else None
        account = self._world.add_account(asked.get("handle"), host=host, curve=asked.get("curve", "k256"))
        return {"did": account.did, "handle": account.handle, "password": account.password}

    async def _status(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._of(asked).status = asked["status"]
        return {}

    async def _rotate(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._of(asked).rotate_key(resign=asked.get("resign", True))
        return {}

    async def _migrate(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._of(asked).migrate(self._pds(asked))
        return {}

    async def _rename(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._of(asked).rename(asked["handle"])
        return {}

    async def _tombstone(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._of(asked).tombstone()
        return {}

    async def _register(self, asked: dict[str, Any]) -> dict[str, Any]:
        for one in asked["accounts"]:
            key = PublicKey(one["multibase"])
            self._world.plc.register(one["did"], did_document(one["did"], one["handle"], key, asked["pds_url"]))
        return {}

    async def _sync(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._of(asked).sync()
        return {}

    async def _relay(self, asked: dict[str, Any]) -> dict[str, Any]:
        relay = self._world.add_relay(first_seq=asked.get("first_seq", 1))
        await relay.start()
        return describe_firehose(relay)

    async def _firehose(self, asked: dict[str, Any]) -> dict[str, Any]:
        host = self._world.host(asked.pop("of"))
        pull_firehose(host, asked.pop("do"), asked)
        return describe_firehose(host)

    async def _clock(self, asked: dict[str, Any]) -> dict[str, Any]:
        clock = self._world.clock
        now_us = asked.get("now_us", clock.now_us) + int(asked.get("advance", 0) * 1_000_000)
        if now_us < clock.now_us:
            raise ValueError("revs ascend, so the clock does not go back")
        clock.now_us = now_us
        return {"now_us": clock.now_us}

    async def _fault(self, asked: dict[str, Any]) -> dict[str, Any]:
        fields = {name: value for name, value in asked.items() if name not in ("kind", "pds", "did")}
        if "body" in fields:
            fields["body"] = base64.b64decode(fields["body"])
        fault = _FAULTS[asked["kind"]](**fields)
        if "did" in asked:
            self._of(asked).fault(fault)
        else:
            self._host(asked).faults.add(fault)
        return {}

    async def _heal(self, asked: dict[str, Any]) -> dict[str, Any]:
        for host in (self._world.plc, *self._world.hosts, *self._world.relays):
            host.faults.clear()
        return {}

    async def _forget(self, asked: dict[str, Any]) -> dict[str, Any]:
        for host in (self._world.plc, *self._world.hosts):
            host.traffic.requests.clear()
        return {}

    async def _stop(self, asked: dict[str, Any]) -> dict[str, Any]:
        await self._server(asked).stop()
        return {}

    async def _start(self, asked: dict[str, Any]) -> dict[str, Any]:
        await self._server(asked).start()
        return {}

    # -- whom

    def _of(self, asked: dict[str, Any]) -> Account:
        return self._world.account(asked["did"])

    def _pds(self, asked: dict[str, Any]) -> Pds:
        return self._world.hosts[int(asked["pds"])]

    def _server(self, asked: dict[str, Any]) -> Host:
        return self._world.host(asked["of"]) if "of" in asked else self._pds(asked)

    def _host(self, asked: dict[str, Any]) -> Host:
        return self._pds(asked) if "pds" in asked else self._world.plc


def _line(account: Account, collection: str, rkey: str) -> dict[str, Any]:
    return {"did": account.did, "collection": collection, "rkey": rkey}


def _cutoff(asked: dict[str, str]) -> int | None:
    return int(asked["cutoff_us"]) if "cutoff_us" in asked else None
