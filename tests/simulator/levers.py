"""What the control API does to firehoses, in words of JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .relay import Relay
from .xrpc import XrpcHost

_STREAM = ("keep_events", "keep_seconds", "says_outdated", "says_future", "queue")
_RELAY = ("unseen", "unseen_hosts", "unlisted_hosts")


def describe_firehose(host: XrpcHost) -> dict[str, Any]:
    """Where a firehose is, and who listens."""
    stream, subscriptions = host.stream, host.subscriptions
    seqs = {"first_seq": stream.first_seq, "last_seq": stream.last_seq, "messages": len(stream)}
    consumers = {name: getattr(subscriptions, name) for name in ("connected", "accepted", "too_slow")}
    return {"name": host.name, "url": host.url} | seqs | consumers


def pull_firehose(host: XrpcHost, do: str, asked: dict[str, Any]) -> None:
    """Do something to a firehose; KeyError for a word that is unknown, TypeError for an argument too many."""
    stream = host.stream
    if do == "set":
        _set(host, asked)
        return
    levers: dict[str, Callable[..., object]] = {
        "tamper": stream.tamper,
        "junk": stream.junk,
        "repeat": stream.repeat,
        "jump": stream.jump,
        "restart": stream.restart,
        "disconnect": stream.disconnect,
        "heal": stream.heal,
    }
    levers[do](**asked)


def _set(host: XrpcHost, asked: dict[str, Any]) -> None:
    for name, value in asked.items():
        if name in _STREAM:
            setattr(host.stream, name, value)
        elif name in _RELAY and isinstance(host, Relay):
            setattr(host, name, set(value))
        else:
            raise KeyError(name)
