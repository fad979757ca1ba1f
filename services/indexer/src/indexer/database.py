"""Connections to Postgres, and the one place that says which family a driver's error belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType

import asyncpg

from headwater.errors import InvalidInputError, InvariantError, Reason, TransientError
from indexer.statements import SQL

_POSTGRES_EPOCH_US = 946_684_800_000_000
_CONNECT_SECONDS = 10.0
_COMMAND_SECONDS = 300.0

_SESSION = {
    "timezone": "UTC",
    "lock_timeout": "60s",
    "idle_in_transaction_session_timeout": "120s",
    "jit": "off",
    # Every statement finds its rows by a key. The plan that was made while a table was small, and that is kept until
    # its statistics are made anew, must not read all of it when it has grown: neither as it lies, nor by an index from
    # end to end, to be compared with a list or kept beside one.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_material": "off",
}

# SQLSTATE classes (https://www.postgresql.org/docs/current/errcodes-appendix.html) by what they say of the caller.
_ROW_IS_BAD = ("22", "23", "54")
_MAY_GO_WELL_LATER = ("08", "40", "53", "55", "57", "58")


async def connect(
    dsn: str,
    application: str,
    *,
    writes: bool = False,
    statement_seconds: int | None = None,
    session: Mapping[str, str] = MappingProxyType({}),
) -> asyncpg.Connection:
    """A connection whose timestamps are integers, in microseconds since 1970; ``writes``: with what writers need.

    ``session`` holds further settings. A statement that takes longer than ``statement_seconds`` is a TransientError.

    Raises TransientError when Postgres is away.
    """
    with translated():
        connection = await asyncpg.connect(
            dsn,
            timeout=_CONNECT_SECONDS,
            command_timeout=_COMMAND_SECONDS,
            server_settings=_SESSION
            | {"application_name": application}
            | ({"statement_timeout": f"{statement_seconds}s"} if statement_seconds else {})
            | dict(session),
        )
        await connection.set_type_codec(
            "timestamptz",
            schema="pg_catalog",
            encoder=lambda micros: (micros - _POSTGRES_EPOCH_US,),
            decoder=lambda value: value[0] + _POSTGRES_EPOCH_US,
            format="tuple",
        )
        if writes:
            await connection.execute(SQL["create_staged"])
    return connection


class Database:
    """One connection for one kind of work, made anew when it was lost."""

    def __init__(
        self,
        dsn: str,
        application: str,
        *,
        writes: bool = False,
        statement_seconds: int | None = None,
        session: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._connect = partial(
            connect, dsn, application, writes=writes, statement_seconds=statement_seconds, session=session
        )
        self._connection: asyncpg.Connection | None = None

    async def connection(self) -> asyncpg.Connection:
        """The connection. Raises TransientError when Postgres is away."""
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._connect()
        return self._connection

    async def close(self) -> None:
        """Close the connection if there is one; one that is lost is dropped."""
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            try:
                await connection.close(timeout=5)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection.terminate()


@contextmanager
def translated() -> Iterator[None]:
    """Turns driver errors into the error tree.

    A row that Postgres refuses is InvalidInputError(RECORD_UNWRITABLE), a lost connection, a deadlock or a full disk
    TransientError, everything else InvariantError: a statement or a table that is not as this code expects.
    """
    try:
        yield
    except asyncpg.PostgresError as error:
        raise _of_server(error) from error
    except (asyncpg.DataError, UnicodeEncodeError, OverflowError) as error:
        raise InvalidInputError(Reason.RECORD_UNWRITABLE, str(error)[:500]) from error
    except (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise TransientError(f"Postgres: {type(error).__name__}: {error}") from error


def _of_server(error: asyncpg.PostgresError) -> Exception:
    state = error.sqlstate or ""
    said = f"{type(error).__name__}: {error}"[:500]
    if state.startswith(_ROW_IS_BAD):
        return InvalidInputError(Reason.RECORD_UNWRITABLE, said)
    if state.startswith(_MAY_GO_WELL_LATER) or isinstance(error, asyncpg.PostgresConnectionError):
        return TransientError(f"Postgres: {said}")
    return InvariantError(f"Postgres: {said}")
