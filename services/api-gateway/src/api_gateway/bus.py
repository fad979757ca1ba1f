"""The gateway's connection to NATS: opened in the background, away at times, and then said so at once."""

from __future__ import annotations

import asyncio
import logging

import nats.errors
from faststream.nats import NatsBroker
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.kv import KeyValue
from nats.js.object_store import ObjectStore

from api_gateway.problems import unavailable
from headwater.backoff import backoff_seconds
from headwater.bus import streams
from headwater.bus.firehose_store import FirehoseStore
from headwater.bus.job_store import JobStore

log = logging.getLogger("api_gateway.bus")

REQUEST_SECONDS = 5.0


class Bus:
    """What the routes use of NATS. Before the first connection, and while it is lost, all of it raises Problem 503:
    nats-py would keep what is published meanwhile and send it later, when nobody waits for the answer any more."""

    def __init__(self, broker: NatsBroker) -> None:
        self._broker = broker
        self._client: Client | None = None
        self._js: JetStreamContext | None = None
        self._buckets: dict[str, KeyValue] = {}
        self._imports: ObjectStore | None = None
        self._reconnects_seen = 0

    async def connect(self) -> None:
        """Connect and declare the topology, however long that takes."""
        attempt = 0
        while self._client is None:
            attempt += 1
            try:
                client = await self._broker.connect()
                js = client.jetstream(timeout=REQUEST_SECONDS)
                await streams.apply_topology(js)
                for bucket in streams.BUCKETS:
                    self._buckets[bucket.bucket] = await js.key_value(bucket.bucket)
                self._imports = await js.object_store(streams.OBJECTS_IMPORTS)
            except (nats.errors.Error, OSError, TimeoutError) as error:
                log.warning("no bus yet: %s", error)
                await asyncio.sleep(backoff_seconds(attempt, cap=5.0))
            else:
                self._js = js
                self._client = client

    async def mend(self) -> None:
        """Declare the topology again after the server was away: what it kept in memory alone is gone then."""
        reconnects = self.client.stats["reconnects"]
        if reconnects != self._reconnects_seen:
            await streams.apply_topology(self.js)
            self._reconnects_seen = reconnects

    async def close(self) -> None:
        """Let go of the connection."""
        await self._broker.stop()

    @property
    def connected(self) -> bool:
        """Whether the connection stands."""
        return self._client is not None and self._client.is_connected

    @property
    def client(self) -> Client:
        """The connection. Raises Problem 503."""
        if self._client is None or not self._client.is_connected:
            raise unavailable("the message bus is not connected")
        return self._client

    @property
    def js(self) -> JetStreamContext:
        """JetStream. Raises Problem 503."""
        if self._js is None or not self.connected:
            raise unavailable("the message bus is not connected")
        return self._js

    @property
    def jobs(self) -> JobStore:
        """The jobs. Raises Problem 503."""
        return JobStore(self._bucket(streams.BUCKET_JOBS))

    @property
    def tokens(self) -> KeyValue:
        """Tokens that were used. Raises Problem 503."""
        return self._bucket(streams.BUCKET_TOKENS)

    @property
    def logins(self) -> KeyValue:
        """Logins that wait for their callback. Raises Problem 503."""
        return self._bucket(streams.BUCKET_LOGINS)

    @property
    def sessions(self) -> KeyValue:
        """Browsers that are logged in. Raises Problem 503."""
        return self._bucket(streams.BUCKET_SESSIONS)

    @property
    def operators(self) -> KeyValue:
        """Browsers of operators. Raises Problem 503."""
        return self._bucket(streams.BUCKET_OPERATORS)

    @property
    def hosts(self) -> KeyValue:
        """What the repo-backfill workers say of hosts. Raises Problem 503."""
        return self._bucket(streams.BUCKET_HOSTS)

    @property
    def control(self) -> KeyValue:
        """What operators switched. Raises Problem 503."""
        return self._bucket(streams.BUCKET_CONTROL)

    @property
    def firehose(self) -> FirehoseStore:
        """The firehose's plan, progress and gaps. Raises Problem 503."""
        return FirehoseStore(self.control, self._bucket(streams.BUCKET_FIREHOSE))

    @property
    def cursors(self) -> KeyValue:
        """The firehose's cursors. Raises Problem 503."""
        return self._bucket(streams.BUCKET_CURSORS)

    @property
    def workers(self) -> KeyValue:
        """Which workers live. Raises Problem 503."""
        return self._bucket(streams.BUCKET_WORKERS)

    @property
    def imports(self) -> ObjectStore:
        """CAR files to import. Raises Problem 503."""
        if self._imports is None or not self.connected:
            raise unavailable("the message bus is not connected")
        return self._imports

    def _bucket(self, name: str) -> KeyValue:
        if name not in self._buckets or not self.connected:
            raise unavailable("the message bus is not connected")
        return self._buckets[name]
