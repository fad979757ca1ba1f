"""An account of the simulated network, and all that can happen to one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from . import expect, records
from .commits import Commits
from .events import Committed, Event, IdentityChanged, Status, StatusChanged, Synced
from .faults import F
from .jwt import service_auth
from .keys import SigningKey, signing_key
from .odd import odd_records
from .plc import did_document
from .repo import Commit, Order, Repo, Write
from .tid import Clock, iso

if TYPE_CHECKING:
    from .pds import Pds
    from .plc import PlcDirectory, WebDidHost

__all__ = ["Account", "Status"]

#: From here on, seeded records stay on disk.
_SEED_ON_DISK = 5000
_RECIPE = ("records", "tree", "columns", "dagcbor", "car", "tid", "repo")


class Account:
    """One account: its identity, its repo, its PDS and its status there.

    `announce` tells the network what happens. `directory` takes the CARs that are served, `cache` the seeded ones that
    later worlds may take up again.
    """

    def __init__(
        self,
        *,
        did: str,
        handle: str,
        curve: str,
        host: Pds,
        registry: PlcDirectory | WebDidHost,
        clock: Clock,
        announce: Callable[[Account, Event], None],
        seed: str,
        directory: Path,
        cache: Path | None = None,
    ) -> None:
        self.did = did
        self.handle = handle
        self.password = f"password-of-{handle}"
        self.host = host
        self._status: Status = "active"
        self.car_order: Order = "tree"
        self._curve = curve
        self._registry = registry
        self.clock = clock
        self._announce = announce
        self._rng = Random(f"{seed}/{did}")
        self._directory = directory
        self._cache = cache or directory
        self.key = signing_key(curve, self._rng)
        self.commits = Commits(did)
        host.accounts[did] = self
        self.publish_document()
        # What a PDS tells of a new account, in its order.
        self._tell(StatusChanged(did, clock.now_us, "active"))
        self.repo = Repo(did, self.key, clock.next_tid, self._committed)
        self._tell_head()

    @property
    def status(self) -> Status:
        """The account's status at its PDS; a change of it is told, and on return where the repo is now."""
        return self._status

    @status.setter
    def status(self, status: Status) -> None:
        if status == self._status:
            return
        self._status = status
        self._tell(StatusChanged(self.did, self.clock.now_us, status))
        if status == "active":
            self._tell_head()

    def sync(self) -> None:
        """Tell where the repo is, as a PDS does after repairing it."""
        self._tell_head()

    # -- records

    def create(self, collection: str, record: Mapping[str, Any], rkey: str | None = None) -> str:
        """Write a new record, under a new TID where no rkey is given; its rkey."""
        rkey = rkey or self.clock.next_tid()
        self.repo.apply_writes([Write("create", collection, rkey, record)])
        return rkey

    def update(self, collection: str, rkey: str, record: Mapping[str, Any]) -> str:
        """Replace a record; the new rev."""
        return self.repo.apply_writes([Write("update", collection, rkey, record)])

    def delete(self, collection: str, rkey: str) -> str:
        """Delete a record; the new rev."""
        return self.repo.apply_writes([Write("delete", collection, rkey)])

    def apply_writes(self, writes: Iterable[Write]) -> str:
        """Several writes in one commit; the new rev."""
        return self.repo.apply_writes(writes)

    def put_invalid(self, collection: str, rkey: str, block: bytes) -> str:
        """Put a block in place of a record that readers must refuse, and none of its siblings; the new rev."""
        return self.repo.apply_writes([Write("create", collection, rkey, block=block, valid=False)])

    def post(self, text: str, **fields: Any) -> str:
        """Write a post of now; its rkey."""
        record = {"$type": "app.bsky.feed.post", "text": text, "createdAt": iso(self.clock.now_us)}
        return self.create("app.bsky.feed.post", record | fields)

    def seed_records(self, count: int) -> str:
        """Write `count` records of real shape and mix, two years of them, in one commit; the new rev."""
        rng = Random(self._rng.getrandbits(64))
        # A second batch must not lie on the same times as the first.
        now_us = self.clock.tick()
        batch = records.generate(rng, self.did, now_us, count)
        if count < _SEED_ON_DISK or self.repo.sorted_keys():
            return self.repo.put_blocks(batch)
        name = f"{_recipe()}/{self.did}/{self.key.did_key}/{now_us}/{count}/{rng.random()}"
        self.repo.seed(self._cache / f"seeded-{sha256(name.encode()).hexdigest()[:24]}.car", batch)
        return self.repo.rev

    def change_records(self, share: float) -> str:
        """Replace this share of the records by others of the same kind, in one commit; the new rev."""
        keys = self.repo.sorted_keys()
        chosen = [keys[int(position / share)] for position in range(int(len(keys) * share))]
        kinds = [key.decode().partition("/") for key in chosen]
        changed = {"edited": self.repo.rev, "createdAt": iso(self.clock.now_us)}
        return self.repo.apply_writes(
            Write("update", collection, rkey, {"$type": collection} | changed) for collection, _, rkey in kinds
        )

    def seed_odd_records(self) -> str:
        """Write one of each valid but awkward record; the new rev."""
        odd = odd_records(self.clock.now_us)
        return self.repo.apply_writes(Write("create", collection, rkey, record) for collection, rkey, record in odd)

    def car(self, since: str | None = None, *, order: Order | None = None, key: SigningKey | None = None) -> Path:
        """The file of the repo's CAR. `key` signs it in place of the account's own: a forgery."""
        order = order or self.car_order
        path = self._car_path(since, order, key)
        if not path.exists():
            self.repo.write_car(path, since=since, order=order, commit_key=key)
        return path

    def written_car(self, since: str | None = None) -> Path | None:
        """The file of `car`, where it has been written before."""
        path = self._car_path(since, self.car_order, None)
        return path if path.exists() else None

    def _car_path(self, since: str | None, order: Order, key: SigningKey | None) -> Path:
        seeded = self.repo.seeded_car
        if seeded is not None and since is None and order == "tree" and key is None:
            return seeded
        name = f"{self.did}-{self.repo.rev}-{since}-{order}-{key.did_key if key else ''}"
        return self._directory / f"{sha256(name.encode()).hexdigest()[:24]}.car"

    def car_bytes(
        self, since: str | None = None, *, order: Order | None = None, key: SigningKey | None = None
    ) -> bytes:
        return self.car(since, order=order, key=key).read_bytes()

    def expected(self, cutoff_us: int | None = None) -> dict[tuple[str, str], expect.Row]:
        """(collection, rkey) -> (CID text, JSON value): what an index of the repo must hold."""
        return dict(expect.rows(self.repo.records(), cutoff_us))

    def expected_cids(self, cutoff_us: int | None = None) -> dict[tuple[str, str], str]:
        """As `expected`, the CID texts alone; without a cutoff no record is decoded."""
        if cutoff_us is not None:
            return {key: row.cid for key, row in self.expected(cutoff_us).items()}
        return dict(expect.cids(self.repo))

    def expected_repo(self, cutoff_us: int | None = None) -> expect.ExpectedRepo:
        """What an index must know of this account."""
        rows = {} if self._status == "deleted" else self.expected()
        due = rows.keys() & self.expected(cutoff_us).keys() if cutoff_us is not None else rows.keys()
        return expect.ExpectedRepo(self.did, self.handle, self._status, rows, set(due))

    # -- identity

    def new_key(self) -> SigningKey:
        """Another key of the same curve, of no account yet."""
        return signing_key(self._curve, self._rng)

    def document(self) -> dict[str, Any]:
        """The DID document of the present."""
        return did_document(self.did, self.handle, self.key, self.host.url)

    def publish_document(self) -> None:
        """Put the DID document into the directory, and tell of it."""
        self._put_document(self.document())
        self._tell(IdentityChanged(self.did, self.clock.now_us, self.handle))

    def rotate_key(self, *, resign: bool = True) -> None:
        """A new signing key in the document; the repo is committed again with it, unless that is left out."""
        self.key = self.new_key()
        self.publish_document()
        if resign:
            self.repo.resign(self.key)

    def migrate(self, host: Pds) -> None:
        """Move to another PDS, with a new signing key; the old one keeps a deactivated copy."""
        former, self.host = self.host, host
        former.departed[self.did] = former.accounts.pop(self.did)
        host.departed.pop(self.did, None)
        host.accounts[self.did] = self
        self.rotate_key()
        self._tell(StatusChanged(self.did, self.clock.now_us, self._status))
        self._tell_head()
        # Relays follow the new PDS by now, so only those who listen to the old one hear this.
        former.stream.append(StatusChanged(self.did, self.clock.now_us, "deactivated"))

    def rename(self, handle: str) -> None:
        self.handle = handle
        self.publish_document()

    def tombstone(self) -> None:
        """Delete the account for good: the PDS forgets it, the directory holds a tombstone."""
        self.status = "deleted"
        self._put_document(None)
        self._tell(IdentityChanged(self.did, self.clock.now_us, None))

    def _put_document(self, document: dict[str, Any] | None) -> None:
        self._registry.register(self.did, document)

    # -- telling

    def _committed(self, commit: Commit) -> None:
        self.commits.append(commit)
        # What is imported into an account that is not active is told when it becomes so.
        if self._status == "active":
            self._tell(Committed(self.did, self.clock.now_us, self.commits, commit.rev))

    def _tell_head(self) -> None:
        if self._status == "active":
            self._tell(Synced(self.did, self.clock.now_us, self.commits, self.repo.rev))

    def _tell(self, event: Event) -> None:
        self._announce(self, event)

    # -- access

    def fault(self, fault: F) -> F:
        """Script a fault for this account alone, on its present PDS."""
        fault.did = self.did
        return self.host.faults.add(fault)

    def service_auth(self, aud: str, lxm: str | None, **claims: Any) -> str:
        """A service-auth token of this account; see `jwt.service_auth`. `key` and `iss` may be another's."""
        key = claims.pop("key", self.key)
        return service_auth(key, claims.pop("iss", self.did), aud, lxm, **claims)


def _recipe() -> str:
    """A digest of the code that makes seeded CARs: a cached one is of use to the same code only."""
    here = Path(__file__).parent
    return sha256(b"".join((here / f"{name}.py").read_bytes() for name in _RECIPE)).hexdigest()
