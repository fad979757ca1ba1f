"""Asking the indexer for repos' states: together where many ask at once, and nobody left out who did not give up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import nats
import pytest
import pytest_asyncio
from nats.aio.client import Client
from nats.aio.msg import Msg

from headwater.bus.queries import MOST_REPO_STATES, RepoState, RepoStates, RepoStatesQuery
from headwater.bus.subjects import REPO_STATES
from repo_backfill.indexer_client import IndexerClient
from waiting import until


@pytest_asyncio.fixture
async def client(nats_url: str) -> AsyncIterator[Client]:
    async with await nats.connect(nats_url) as connected:
        yield connected


class Indexer:
    """Answers with the number of the question as the epoch, when it is let."""

    def __init__(self) -> None:
        self.questions: list[list[str]] = []
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def answer(self, message: Msg) -> None:
        dids = RepoStatesQuery.model_validate_json(message.data).dids
        self.questions.append(dids)
        epoch = len(self.questions)
        self.asked.set()
        await self.may_answer.wait()
        states = RepoStates(states=[RepoState(did=did, epoch=epoch) for did in dict.fromkeys(dids)])
        await message.respond(states.model_dump_json().encode())


async def test_those_who_come_while_a_question_is_under_way_share_the_next(client: Client) -> None:
    dids = [f"did:plc:{number}" for number in range(MOST_REPO_STATES + 50)]
    asking = IndexerClient(client)
    indexer = Indexer()
    await client.subscribe(REPO_STATES, cb=indexer.answer)
    first = asyncio.create_task(asking.repo_state("did:plc:first"))
    await asyncio.wait_for(indexer.asked.wait(), 60)
    tasks = [asyncio.create_task(asking.repo_state(did)) for did in [*dids, "did:plc:first"]]
    await asyncio.sleep(0)
    indexer.may_answer.set()
    states = await asyncio.wait_for(asyncio.gather(first, *tasks), 60)
    assert [state.did for state in states] == ["did:plc:first", *dids, "did:plc:first"]
    assert [len(question) for question in indexer.questions] == [1, MOST_REPO_STATES, 51]
    assert states[0].epoch == 1
    assert states[-1].epoch == 3, "as it is after it was asked for"


async def test_one_who_gives_up_takes_nobody_along(client: Client) -> None:
    asking = IndexerClient(client)
    indexer = Indexer()
    await client.subscribe(REPO_STATES, cb=indexer.answer)
    dids = ["did:plc:a", "did:plc:b", "did:plc:b", "did:plc:c"]
    tasks = [asyncio.create_task(asking.repo_state(did)) for did in dids]
    await asyncio.wait_for(indexer.asked.wait(), 60)
    for leaves in (0, 3):
        tasks[leaves].cancel()
    indexer.may_answer.set()
    states = await asyncio.wait_for(asyncio.gather(*tasks[1:3]), 60)
    assert [state.did for state in states] == ["did:plc:b", "did:plc:b"]


async def test_while_no_indexer_answers_it_is_said_what_waits(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    asking = IndexerClient(client)
    tasks = [asyncio.create_task(asking.repo_state(f"did:plc:{number}")) for number in range(3)]
    await until(lambda: "3 jobs wait: no indexer answers (NoRespondersError)" in caplog.messages)
    indexer = Indexer()
    indexer.may_answer.set()
    await client.subscribe(REPO_STATES, cb=indexer.answer)
    assert [state.did for state in await asyncio.gather(*tasks)] == ["did:plc:0", "did:plc:1", "did:plc:2"]
