"""What jobs work with: made once by ``app``, shared by all jobs of the process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from nats.js.kv import KeyValue

from headwater.bus.job_store import JobStore
from headwater.bus.publish import Publisher
from headwater.bus.subjects import RequestLane
from headwater.identity import IdentityResolver
from repo_backfill.car_store import MemoryBudget
from repo_backfill.dead_letters import DeadLetters
from repo_backfill.imports import Imports
from repo_backfill.indexer_client import IndexerClient
from repo_backfill.pds import PdsClient, Turn
from repo_backfill.settings import RepoBackfillSettings
from repo_backfill.signals import Switchboard
from repo_backfill.slots import Slots

TURNS: Final = {
    RequestLane.USER: Turn(rank=0, patience=60.0),
    RequestLane.RESYNC: Turn(rank=1, patience=5.0),
    RequestLane.CRAWL: Turn(rank=2, patience=5.0),
}
"""User requests overtake resyncs, resyncs overtake crawls. Only for a person is a long wait at a host held."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Everything that a job needs of the process."""

    settings: RepoBackfillSettings
    jobs: JobStore
    bucket: KeyValue
    switchboard: Switchboard
    indexer: IndexerClient
    identities: IdentityResolver
    pds: PdsClient
    imports: Imports
    publisher: Publisher
    dead_letters: DeadLetters
    budget: MemoryBudget
    index_budget: MemoryBudget
    fetching: Slots
