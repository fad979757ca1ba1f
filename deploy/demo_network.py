"""The demo's network: the simulator (tests/simulator) as a process, and the levers by which things happen on it."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from headwater_local.errors import StackError
from headwater_local.program import stop

WINDOW = 30
"""How many events the relay keeps."""
_TESTS = Path(__file__).resolve().parents[1] / "tests"
_SECONDS_BETWEEN_POSTS = 5.0
_MOST_POSTS = 2_000
_SAYINGS = (
    "the river is up this morning",
    "two herons by the weir",
    "first frost on the reeds",
    "somebody has mended the footbridge",
    "the mill is for sale again",
)
_HERE = "SELECT did FROM repo WHERE did = ANY($1)"


@dataclass(frozen=True)
class Account:
    """Somebody on the network."""

    did: str
    handle: str
    password: str


class Network:
    """The network, and its control API (tests/simulator/control.py).

    ``newcomer`` has written nothing for 100 days; ``asked`` are those whose repos the demo asks for; nobody asks for
    ``others``.
    """

    def __init__(self, described: Mapping[str, Any], asked: int) -> None:
        accounts = [Account(**one) for one in described["accounts"]]
        self.newcomer = accounts[0]
        self.asked: Sequence[Account] = accounts[1 : 1 + asked]
        self.others: Sequence[Account] = accounts[1 + asked :]
        self.settings = {
            "PLC_URL": str(described["plc_url"]),
            "HANDLE_RESOLVER_URL": str(described["pds_urls"][0]),
            "RELAY_URLS": str(described["relay_url"]),
        }
        self._url = f"{described['control_url']}/_sim/"

    def pull(self, lever: str, **body: Any) -> None:
        """Make something happen. Raises StackError when the network is gone."""
        request = urllib.request.Request(  # noqa: S310 (our own simulator)
            self._url + lever, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        self._ask(request)

    def post(self, account: Account, text: str, number: int = 1) -> None:
        """So many posts, a commit each."""
        for _ in range(number):
            moment = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
            post = {"$type": "app.bsky.feed.post", "text": text, "createdAt": moment}
            key = {"collection": "app.bsky.feed.post", "rkey": f"demo-{time.time_ns()}"}
            self.pull("write", did=account.did, writes=[{"action": "create", **key, "record": post}])

    def records(self, account: Account, cutoff_us: int | None = None) -> int:
        """How many records an account has on its PDS, from a time on (microseconds since 1970)."""
        asked = {"did": account.did} | ({} if cutoff_us is None else {"cutoff_us": str(cutoff_us)})
        return sum(self._ask(f"{self._url}counts?{urllib.parse.urlencode(asked)}").values())

    def live_on(self, database_url: str) -> None:
        """A post now and then, by somebody of whom Postgres holds something already. Does not return by itself."""
        everybody = {account.did: account for account in (self.newcomer, *self.asked, *self.others)}
        for _ in range(_MOST_POSTS):
            time.sleep(_SECONDS_BETWEEN_POSTS)
            here = asyncio.run(_here(database_url, list(everybody)))
            self.post(everybody[random.choice(here)], random.choice(_SAYINGS))  # noqa: S311 (who is up is no secret)
        signal.pause()

    def _ask(self, request: urllib.request.Request | str) -> Any:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 (our own simulator)
                return json.load(answer)
        except OSError as error:
            raise StackError(f"the local network does not answer: {error}") from error


@contextmanager
def local_network(asked: int, others: int, records: int) -> Iterator[Network]:
    """The simulator with one quiet account and so many others, of ``records`` records each.

    Before anybody listens, ``others`` write more than the relay keeps.
    """
    sizes = ["--quiet", "1", "--accounts", str(asked + others), "--records", str(records)]
    command = [sys.executable, "-m", "simulator", "--hosts", "2", "--recent", "--live", *sizes]
    process = subprocess.Popen(command, cwd=_TESTS, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise StackError("the local network did not start")
        network = Network(json.loads(line), asked)
        for account in network.others:
            network.post(account, "before anybody listened", 20)
        network.pull("firehose", of="relay", do="set", keep_events=WINDOW)
        yield network
    finally:
        process.stdout.close()
        stop(process, signal.SIGTERM, timeout=10.0)


async def _here(database_url: str, dids: Sequence[str]) -> list[str]:
    connection = await asyncpg.connect(database_url)
    try:
        return [row["did"] for row in await connection.fetch(_HERE, dids)]
    finally:
        await connection.close()
