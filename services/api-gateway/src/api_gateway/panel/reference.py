"""An OpenAPI description as the lines of a reference; pure. Source: https://spec.openapis.org/oas/v3.1.0."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. ``parameters`` are (name, where, what for); ``answers`` are (status, what)."""

    tag: str
    method: str
    path: str
    summary: str
    lxm: str | None
    parameters: list[tuple[str, str, str]]
    body: str | None
    answers: list[tuple[str, str]]

    @property
    def anchor(self) -> str:
        """A name for links within the page."""
        return f"{self.method}{self.path}".translate(str.maketrans("/{}", "---"))


def operations_of(described: dict[str, Any]) -> list[Operation]:
    """Every operation of an OpenAPI description, in its order."""
    return [
        _operation(described, method, path, operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]


def _operation(described: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> Operation:
    return Operation(
        tag=", ".join(operation.get("tags", [])),
        method=method.upper(),
        path=path,
        summary=operation.get("description") or operation.get("summary", ""),
        lxm=operation.get("x-lxm"),
        parameters=[
            (one["name"], one["in"], one.get("description") or one.get("schema", {}).get("description", ""))
            for one in operation.get("parameters", [])
            if one["in"] != "cookie"
        ],
        body=next(_examples(described, operation.get("requestBody", {})), None),
        answers=[(status, answer.get("description", "")) for status, answer in operation["responses"].items()],
    )


def _examples(described: dict[str, Any], body: dict[str, Any]) -> Iterator[str]:
    for content in body.get("content", {}).values():
        schema = content.get("schema", {})
        name = schema.get("$ref", "").rpartition("/")[2]
        schema = described.get("components", {}).get("schemas", {}).get(name, schema)
        for example in schema.get("examples", []):
            yield json.dumps(example, ensure_ascii=False)
