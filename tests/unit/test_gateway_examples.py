"""The API's description shows users what each request and each answer looks like, and shows it truly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from api_gateway.app import create_app
from api_gateway.routes import examples
from api_gateway.routes.bodies import Accepted, Jobs, RecordList
from api_gateway.settings import GatewaySettings
from headwater.bus.jobs import JobStatus
from headwater.bus.queries import AccountSettings, AccountStats
from headwater.service import Tasks

STREAMS = {"/api/user/export", "/api/user/backfill/{job_id}/events"}


@pytest.fixture
def described(tmp_path: Path) -> dict[str, Any]:
    return create_app(GatewaySettings(_env_file=None, headwater_home=tmp_path), Tasks()).openapi()


def test_every_answer_to_users_has_an_example(described: dict[str, Any]) -> None:
    missing = [
        (method, path, status)
        for path, methods in described["paths"].items()
        if path.startswith("/api/user/")
        for method, operation in methods.items()
        for status, answer in operation["responses"].items()
        if not (path in STREAMS and status == "200")
        for content in answer["content"].values()
        if "example" not in content
    ]
    assert missing == []


def test_every_body_that_users_send_has_an_example(described: dict[str, Any]) -> None:
    schemas = described["components"]["schemas"]
    bodies = [
        content["schema"]["$ref"].rpartition("/")[2]
        for path, methods in described["paths"].items()
        if path.startswith("/api/user/")
        for operation in methods.values()
        for content in operation.get("requestBody", {}).get("content", {}).values()
    ]
    assert len(bodies) >= 4
    assert all(schemas[name]["examples"] for name in bodies)


def test_a_problems_example_is_a_problem(described: dict[str, Any]) -> None:
    responses = described["paths"]["/api/user/backfill"]["post"]["responses"]
    for status, answer in responses.items():
        example = next(iter(answer["content"].values()))["example"]
        if status != "202":
            assert example.keys() == {"type", "title", "status", "detail", "reason"}
            assert str(example["status"]) == status


@pytest.mark.parametrize(
    ("model", "example"),
    [
        (Accepted, examples.ACCEPTED),
        (JobStatus, examples.JOB),
        (Jobs, examples.JOBS),
        (AccountStats, examples.STATS),
        (AccountSettings, examples.SETTINGS),
        (RecordList, examples.RECORDS),
    ],
)
def test_examples_are_what_is_answered(model: type[BaseModel], example: dict[str, Any]) -> None:
    """Every field is shown, and none that there is not."""
    assert model.model_validate(example).model_dump(mode="json").keys() == example.keys()
    for name in model.model_computed_fields:
        assert model.model_validate(example).model_dump(mode="json")[name] == example[name]
