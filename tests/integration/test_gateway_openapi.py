"""Whatever comes that OpenAPI says can be sent, or cannot, brings out no server error.

Schemathesis draws the requests from the gateway's own document, for a real gateway and a real indexer. They are the
same in every run.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

from api_gateway.auth.methods import Method
from gateway_harness import PROBLEM, RunningGateway, bearer, running_gateway
from indexer_rig import running_indexer
from simulator.account import Account
from simulator.world import World

_EXAMPLES = 12
_SECONDS = 20


@schemathesis.serializer("application/vnd.ipld.car")
def _car(_context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


async def test_no_request_brings_out_a_server_error(nats_url: str, database_url: str, tmp_path: Path) -> None:
    world = World(seed=12)
    account = world.add_account()
    async with (
        world,
        running_gateway(
            nats_url, world.plc.url, tmp_path, handle_resolver_url=world.hosts[0].url, headwater_cooldown_seconds=0
        ) as gateway,
        running_indexer(nats_url, database_url, tmp_path) as indexer,
    ):
        await indexer.until_ready()
        document = (await gateway.client.get("/openapi.json")).json()
        answers = await asyncio.to_thread(_try_everything, document, gateway, account)
    assert {status for status in answers if status >= 500} == set(), answers
    assert {200, 422} <= answers.keys(), "some requests are good and some are bad"


def _try_everything(document: dict[str, Any], gateway: RunningGateway, account: Account) -> Counter[int]:
    """Requests of every operation; how many were answered with which status."""
    answers: Counter[int] = Counter()
    schema = schemathesis.openapi.from_dict(document)
    schema.config.base_url = str(gateway.client.base_url)
    for found in schema.get_all_operations():
        operation = found.ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            _try(operation, mode, gateway, account, answers)
    return answers


def _try(
    operation: Any, mode: GenerationMode, gateway: RunningGateway, account: Account, answers: Counter[int]
) -> None:
    method = operation.definition.raw.get("x-lxm")

    @settings(
        max_examples=_EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        headers = gateway.operator if method is None else bearer(account, Method(method))
        answer = case.call(headers=headers, timeout=_SECONDS)
        answers[answer.status_code] += 1
        assert answer.status_code < 500, f"{operation.label}: {answer.text}"
        if answer.status_code >= 400:
            assert answer.headers["content-type"][0].startswith(PROBLEM), f"{operation.label}: {answer.text}"

    send()
