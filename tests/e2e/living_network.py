"""A simulated network that goes on living while a stack looks at it: accounts with a past, and a seeded writer.

Some of what is written the relay tells wrongly, or never. What became of each record is written down, for whoever has
to find out why a table differs from it.
"""

from __future__ import annotations

import asyncio
import time
from random import Random
from typing import Any, Final

from e2e.simulated import SimulatedPorts, SimulatedWorld
from oracle import Expected
from simulator import Account
from simulator.spoils import SPOILS

DAY: Final = 86_400.0
WINDOW_DAYS: Final = 3
"""What the relay still holds."""
BACKFILL_DAYS: Final = 30
POST: Final = "app.bsky.feed.post"
LIKE: Final = "app.bsky.feed.like"
_LARGE_RECORDS: Final = 6_000
_WRONGS: Final = ("hide", "hide", "hide", "swap", "repeat", *sorted(SPOILS))


class LivingNetwork:
    """One large account, which its user imports, and small ones whose records are older and newer than the window.

    Of ``wronged`` of the small ones one commit is told wrongly, or never.
    """

    def __init__(self, seed: int, ports: SimulatedPorts, *, small: int = 24, wronged: int = 8) -> None:
        self.world = world = SimulatedWorld(seed, ports, hosts=3)
        self.told: dict[str, list[str]] = {}
        self.whole: set[str] = set()
        self._rng = Random(f"living/{seed}")
        world.clock.advance(-60 * DAY)
        world.relay.stream.keep_seconds = WINDOW_DAYS * DAY
        self.large = world.add_account(host=world.hosts[2])
        self.living = [world.add_account(host=world.hosts[i % 2]) for i in range(small)]
        self._wronged = set(self._rng.sample([account.did for account in self.living], wronged))
        self._write_the_past()

    def _write_the_past(self) -> None:
        world, rng = self.world, self._rng
        self._past("sixty days ago", self.living[::2])
        world.clock.advance(40 * DAY)
        self.large.seed_records(_LARGE_RECORDS)
        self._past("twenty days ago", self.living[::3])
        world.clock.advance(20 * DAY - 3_600)
        for number in range(120):
            account = rng.choice(self.living or [self.large])
            self._happen(f"within the window, {number}", account, statuses=False)
        world.clock.advance(1_800)

    def _past(self, text: str, accounts: list[Account]) -> None:
        for account in accounts:
            for number in range(6):
                self._post(account, f"{text}, {number}")

    def expected(self) -> Expected:
        """What Postgres must hold: the cutoff lies far from every record, and imported repos are there whole."""
        repos = self.world.expected(int((time.time() - BACKFILL_DAYS * DAY) * 1_000_000))
        return {did: repo._replace(due=set(repo.rows)) if did in self.whole else repo for did, repo in repos.items()}

    async def live(self, seconds: float, each: float = 0.04) -> None:
        """Go on living for so long; then everybody who can has a last word, by which what was not told is noticed."""
        end, number = asyncio.get_running_loop().time() + seconds, 0
        while asyncio.get_running_loop().time() < end:
            account = self._rng.choice([*self.living, self.large])
            # What a host says when it is asked, and what a relay tells, is compared by time.
            self.world.clock.now_us = max(self.world.clock.now_us, int(time.time() * 1_000_000))
            self._happen(f"live, {number}", account, statuses=account is not self.large)
            number += 1
            await asyncio.sleep(self._rng.uniform(0.0, 2 * each))
        for account in (*self.living, self.large):
            if account.status == "active":
                self._post(account, "the last word")

    def _happen(self, text: str, account: Account, *, statuses: bool) -> None:
        rng, chance = self._rng, self._rng.random()
        if account.status != "active":
            if statuses and chance < 0.5:
                self._status(account, "active")
            return
        if account.did in self._wronged and statuses and chance < 0.5:
            self._wronged.remove(account.did)
            kind = rng.choice(_WRONGS)
            self.world.relay.stream.tamper(kind, account.did)
            self._note(account, f"the next one is told wrongly: {kind}")
            chance = rng.uniform(0.5, 0.95)
        posts = [rkey for collection, rkey in account.expected_cids() if collection == POST]
        if chance < 0.45 or not posts:
            self._post(account, text)
        elif chance < 0.55:
            rkey = account.create(LIKE, {"$type": LIKE, "createdAt": self._now(), "subject": self._subject(account)})
            self._note(account, f"create {LIKE}/{rkey}")
        elif chance < 0.72:
            self._edit(account, rng.choice(posts), text)
        elif chance < 0.95 or not statuses:
            rkey = rng.choice(posts)
            account.delete(POST, rkey)
            self._note(account, f"delete {POST}/{rkey}")
        else:
            self._status(account, rng.choice(["deactivated", "suspended", "takendown", "deleted"]))

    def _post(self, account: Account, text: str) -> None:
        rkey = account.post(text)
        self._note(account, f"create {POST}/{rkey}")

    def _edit(self, account: Account, rkey: str, text: str) -> None:
        before = account.expected()[POST, rkey].value
        # An edited record keeps its date, so that old ones stay outside the scope, or takes a new one.
        created = before.get("createdAt", self._now()) if self._rng.random() < 0.5 else self._now()
        account.update(POST, rkey, {"$type": POST, "text": f"{text}, edited", "createdAt": created})
        self._note(account, f"update {POST}/{rkey}")

    def _status(self, account: Account, status: Any) -> None:
        account.status = status
        self._note(account, status)

    def _subject(self, account: Account) -> dict[str, str]:
        return {
            "uri": f"at://{account.did}/{POST}/x",
            "cid": "bafyreib2rxk3rybk3aobmv5cjuql3bm2twh4jo5uxwx4dwrx4dtcu5qmfe",
        }

    def _now(self) -> str:
        return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(self.world.clock.now_us // 1_000_000))}.000Z"

    def _note(self, account: Account, what: str) -> None:
        self.told.setdefault(account.did, []).append(
            f"{account.repo.rev} seq {self.world.relay.stream.last_seq}: {what}"
        )
