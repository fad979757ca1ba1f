"""Browsers that are logged in: one session each, in a bucket that forgets them after a week.

The browser holds a random secret; the bucket holds its hash, under ``<did token>.<hash>``. So a session is found by
the secret alone, and all sessions of an account are found together.
"""

from __future__ import annotations

from typing import Final

from nats.js.errors import NotFoundError
from pydantic import BaseModel, ConfigDict

from api_gateway.auth.pending_logins import digest, new_secret
from api_gateway.bus import Bus
from headwater.bus.buckets import entries
from headwater.bus.streams import BUCKET_SESSIONS
from headwater.bus.subjects import did_token
from headwater.clock import now_us

SESSION_SECONDS: Final = 7 * 86_400
"""How long a session lasts, from the login on; the bucket's ttl."""
_SECRET_LENGTH: Final = 43


class Session(BaseModel):
    """Who is logged in. ``handle`` was verified at login; None where the account has none that holds."""

    model_config = ConfigDict(frozen=True)

    did: str
    handle: str | None
    began_at_us: int

    @property
    def name(self) -> str:
        """What the account is called on pages."""
        return self.handle or self.did


async def begin_session(bus: Bus, did: str, handle: str | None) -> str:
    """A new session; the secret that the browser keeps. Raises nats errors, Problem 503."""
    secret = new_secret()
    session = Session(did=did, handle=handle, began_at_us=now_us())
    await bus.sessions.put(f"{did_token(did)}.{digest(secret)}", session.model_dump_json().encode())
    return secret


async def find_session(bus: Bus, secret: str | None) -> Session | None:
    """The session of a secret; None when there is none or it has ended. Raises nats errors, Problem 503."""
    if secret is None or len(secret) != _SECRET_LENGTH:
        return None
    try:
        message = await bus.js.get_last_msg(f"KV_{BUCKET_SESSIONS}", f"$KV.{BUCKET_SESSIONS}.*.{digest(secret)}")
    except NotFoundError:
        return None
    if not message.data:
        return None
    session = Session.model_validate_json(message.data)
    return session if now_us() - session.began_at_us < SESSION_SECONDS * 1_000_000 else None


async def end_session(bus: Bus, session: Session, secret: str) -> None:
    """Log this browser out. Raises nats errors, Problem 503."""
    await bus.sessions.delete(f"{did_token(session.did)}.{digest(secret)}")


async def end_all_sessions(bus: Bus, did: str) -> int:
    """Log an account out everywhere; of how many browsers. Raises nats errors, Problem 503."""
    found = await entries(bus.sessions, f"{did_token(did)}.*")
    for key, _ in found:
        await bus.sessions.delete(key)
    return len(found)


async def count_sessions(bus: Bus, did: str) -> int:
    """In how many browsers an account is logged in. Raises nats errors, Problem 503."""
    return len(await entries(bus.sessions, f"{did_token(did)}.*"))
