"""``headwater dead-letters``: what could not be used, looked at, put on its way again, dropped, through the gateway."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape

from headwater_local.gateway import Gateway, open_gateway
from headwater_local.settings import RunnerSettings
from headwater_local.tables import plain_table

T = TypeVar("T")
Letter = Mapping[str, Any]

_FACTS = ("kind", "reason", "detail", "did", "collection", "rkey", "rev", "cid", "job_id", "relay", "subject", "size")


def list_letters(settings: RunnerSettings, *, kind: str | None, reason: str | None, limit: int, as_json: bool) -> None:
    """Print the newest letters, and how many there are of what. Raises StackError."""
    query = {"limit": str(limit)} | ({"kind": kind} if kind else {}) | ({"reason": reason} if reason else {})
    found = _ask(settings, lambda gateway: gateway.dead_letters(query))
    if as_json:
        sys.stdout.write(json.dumps(found) + "\n")
        return
    console = Console()
    counts = ((one["kind"], one["reason"], f"{one['letters']:,}") for one in found["counts"])
    console.print(plain_table("Dead letters", ("kind", "reason", "letters"), counts))
    console.print(plain_table("Newest", ("id", "kept", "kind", "reason", "of", "size"), map(_row, found["letters"])))


def show_letter(settings: RunnerSettings, letter_id: int, *, as_json: bool) -> None:
    """Print one letter: where it is from, and what it says as far as that can be read. Raises StackError."""
    letter = _ask(settings, lambda gateway: gateway.dead_letter(letter_id))
    if as_json:
        sys.stdout.write(json.dumps(letter) + "\n")
        return
    for name in _FACTS:
        if letter[name] is not None:
            # Strangers' text: a terminal must not take it for its own codes.
            sys.stdout.write(f"{name.replace('_', ' ')}: {_plain(str(letter[name]))}\n")
    data = base64.b64decode(letter["bytes"])
    said = json.dumps(letter["value"], indent=2) if letter["format"] is not None else data.hex()
    sys.stdout.write(f"\n{said}\n")


def retry_letter(settings: RunnerSettings, letter_id: int, *, as_json: bool) -> None:
    """Put what a letter is about on its way again. Raises StackError."""
    done = _ask(settings, lambda gateway: gateway.retry_dead_letter(letter_id))
    if as_json:
        sys.stdout.write(json.dumps(done) + "\n")
        return
    how = "published again" if done["way"] == "republish" else f"its account's repo is fetched by job {done['job_id']}"
    sys.stdout.write(f"letter {letter_id}: {how}\n")


def drop_letter(settings: RunnerSettings, letter_id: int) -> None:
    """Drop a letter. Raises StackError."""
    _ask(settings, lambda gateway: gateway.drop_dead_letter(letter_id))
    sys.stdout.write(f"letter {letter_id} is dropped\n")


def _ask(settings: RunnerSettings, ask: Callable[[Gateway], Awaitable[T]]) -> T:
    async def answer() -> T:
        async with open_gateway(settings) as gateway:
            return await ask(gateway)

    return asyncio.run(answer())


def _row(letter: Letter) -> tuple[str, ...]:
    kept = datetime.fromtimestamp(letter["at_us"] / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")
    of = letter["did"] or letter["subject"] or letter["relay"] or ""
    if letter["collection"]:
        of += f"/{letter['collection']}/{letter['rkey']}"
    return str(letter["id"]), kept, letter["kind"], letter["reason"], escape(_plain(of)), decimal(letter["size"])


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)
