"""Putting what a dead letter is about on its way again, in the way that fits its kind.

A message of the bus goes back to the subject from which it was taken. Of a record or a frame nothing in the letter is
believed: the account's repo is fetched anew, and what it holds now is verified. The letter is dropped when that is
asked for; a retry that is cut short before leaves it, and may be made again.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final

from nats.js.errors import APIError
from pydantic import BaseModel, ConfigDict

from api_gateway.bus import Bus
from api_gateway.dead_letters.letter import DeadLetter, Way, letter_of
from api_gateway.dead_letters.store import DeadLetters
from api_gateway.indexer_client import fetch_anew
from api_gateway.problems import Problem, unavailable
from api_gateway.queue import waiting
from headwater.bus.jobs import BackfillRequest
from headwater.bus.streams import (
    STREAM_BACKFILL,
    STREAM_LIVE,
    STREAM_REPLAY,
    STREAM_REQUESTS,
    stream_is_full,
    subject_is_taken,
)
from headwater.bus.subjects import RECORDS_BACKFILL, RECORDS_LIVE, RECORDS_REPLAY, REQUESTS, RequestLane

_STREAMS: Final = (
    (re.compile(re.escape(RECORDS_LIVE) + r"\.\d{1,3}"), STREAM_LIVE),
    (re.compile(re.escape(RECORDS_REPLAY) + r"\.\d{1,3}"), STREAM_REPLAY),
    (re.compile(re.escape(RECORDS_BACKFILL) + r"\.\d{1,3}"), STREAM_BACKFILL),
    (re.compile(re.escape(REQUESTS) + r"\.[a-z]+\.[^.\s*>]+"), STREAM_REQUESTS),
)
"""What may be published again, and where it belongs."""


class Retried(BaseModel):
    """What was done for a letter, which is dropped. ``job_id`` is the job that fetches the repo; it can be followed."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"id": 42, "way": "fetch_anew", "job_id": "0006512bd5c1a0a1b2c3d4e5f6"}]}
    )

    id: int
    way: Way
    job_id: str | None = None


def no_such_letter() -> Problem:
    """404."""
    return Problem(HTTPStatus.NOT_FOUND, "no_such_letter", "there is no such dead letter, or it is gone")


async def retry(bus: Bus, letters: DeadLetters, number: int) -> Retried:
    """Put a letter's matter on its way again, and drop the letter.

    Raises Problem: 404; 409 where nothing can be tried (``nothing_to_retry``, ``bytes_not_kept``) or a job of the
    account runs already (``job_running``); 503. Raises nats errors.
    """
    msg = await letters.message(number)
    if msg is None:
        raise no_such_letter()
    letter = letter_of(number, 0, msg.subject, msg.headers or {}, msg.data)
    job_id = None
    if letter.way == "republish" and letter.subject is not None:
        await _republish(bus, letter.subject, msg.data, letter.size)
    elif letter.way == "fetch_anew" and letter.did is not None:
        job_id = await _fetch_anew(bus, letter.did)
    else:
        raise _nothing(letter)
    await letters.drop(number)
    assert letter.way is not None
    return Retried(id=number, way=letter.way, job_id=job_id)


async def _republish(bus: Bus, subject: str, payload: bytes, size: int) -> None:
    stream = next((name for pattern, name in _STREAMS if pattern.fullmatch(subject)), None)
    if stream is None:
        raise Problem(HTTPStatus.CONFLICT, "nothing_to_retry", "its subject is none that is read")
    if len(payload) < size:
        raise Problem(HTTPStatus.CONFLICT, "bytes_not_kept", "it was too large to be kept")
    try:
        await bus.js.publish(subject, payload, stream=stream)
    except APIError as error:
        if subject_is_taken(error):
            raise Problem(HTTPStatus.CONFLICT, "job_running", "a request for this account waits already") from None
        if stream_is_full(error):
            raise unavailable("the stream is full; ask again when there is room") from None
        raise


async def _fetch_anew(bus: Bus, did: str) -> str:
    request = (await fetch_anew(bus, did)).request
    if request is None:
        return await _running(bus, did)
    await bus.jobs.put_request(request)
    return request.job_id


async def _running(bus: Bus, did: str) -> str:
    """The resync that waits or runs already: enough where it fetches anew, else it has to end first."""
    found = await waiting(bus, RequestLane.RESYNC, did)
    request: BackfillRequest | None = None if found is None else found.request
    if request is not None and request.anew:
        return request.job_id
    named = {} if request is None else {"job_id": request.job_id}
    said = "a resync of this account runs; ask again when it has ended"
    raise Problem(HTTPStatus.CONFLICT, "job_running", said, extensions=named)


def _nothing(letter: DeadLetter) -> Problem:
    return Problem(HTTPStatus.CONFLICT, "nothing_to_retry", f"this {letter.kind} names no account and no subject")
