"""A CAR that an operator hands in: spooled to disk, then put into the ``imports`` object store.

It goes to the bus only when it has come in whole, so an upload that breaks off leaves nothing behind there. Nothing
in it is looked at here; repo-backfill verifies it as it verifies what a PDS sends.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO, Final

from starlette.requests import ClientDisconnect

from api_gateway.bus import Bus
from api_gateway.problems import Problem
from headwater.errors import Reason

IDLE_SECONDS: Final = 60.0
_PIECE_BYTES: Final = 1024 * 1024


async def receive_car(body: AsyncIterator[bytes], file: BinaryIO, max_bytes: int) -> int:
    """Write the body to ``file``; returns its size in bytes.

    Raises Problem: 413 above ``max_bytes``, 422 when it is empty, 408 when it stands still for a minute or breaks off.
    """
    size = 0
    piece = bytearray()
    try:
        while (chunk := await asyncio.wait_for(anext(body, None), IDLE_SECONDS)) is not None:
            size += len(chunk)
            if size > max_bytes:
                raise too_large(max_bytes)
            piece += chunk
            if len(piece) >= _PIECE_BYTES:
                await asyncio.to_thread(file.write, piece)
                piece = bytearray()
    except (TimeoutError, ClientDisconnect):
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, "upload_incomplete", "the upload broke off") from None
    if not size:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, Reason.CAR_TRUNCATED.value, "the body is empty; send a CAR file")
    await asyncio.to_thread(file.write, piece)
    file.seek(0)
    return size


def too_large(max_bytes: int) -> Problem:
    """413: the CAR is above the ceiling."""
    detail = f"a CAR of more than {max_bytes} bytes is not taken (HEADWATER_CAR_MAX_BYTES)"
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, Reason.CAR_TOO_LARGE.value, detail)


def spool_file(home: Path) -> BinaryIO:
    """A nameless file in the home that vanishes when it is closed, also when the process dies."""
    directory = home / "spool"
    directory.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryFile(dir=directory)


async def store_car(bus: Bus, name: str, file: BinaryIO) -> None:
    """Put the file into the object store under ``name``.

    Raises nats errors. What stays there then, or where the process dies meanwhile, ``abandoned_cars`` removes.
    """
    await bus.imports.put(name, file)  # type: ignore[arg-type]
