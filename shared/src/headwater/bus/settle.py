"""The one place that maps an error to what happens to its message: ack, nack with delay, or the process's exit."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from headwater.backoff import backoff_seconds
from headwater.errors import InvalidInputError, TransientError


class Settlement(Enum):
    """What to do with a message after its handling raised."""

    ACK = "ack"
    NACK = "nack"
    EXIT = "exit"


@dataclass(frozen=True)
class Disposition:
    """A settlement, and for a nack the delay in seconds before the message comes again."""

    settlement: Settlement
    delay: float = 0.0


def disposition(error: BaseException, deliveries: int) -> Disposition:
    """What becomes of a message whose handling raised ``error`` at its ``deliveries``-th delivery.

    Invalid input is acked (it has been counted and dead-lettered by whoever raised it); a transient failure comes
    again after the delay that the other side named, or after a growing one; all else is ours, and ends the process.
    """
    if isinstance(error, InvalidInputError):
        return Disposition(Settlement.ACK)
    if isinstance(error, TransientError):
        return Disposition(Settlement.NACK, error.retry_after or backoff_seconds(deliveries))
    return Disposition(Settlement.EXIT)
