"""Which NATS servers will do."""

from __future__ import annotations

from typing import Final

from headwater.errors import InvariantError

OLDEST: Final = (2, 11)
"""Direct gets of several subjects (``headwater.bus.last_values``) came with it."""
_UNKNOWN: Final = (0, 0)
"""What a client says that has no server at the moment."""


def check_server_version(major: int, minor: int) -> None:
    """Check the version of a server. Raises InvariantError when it is too old.

    An older one would not refuse what it does not know; it would never answer, and look as if it were away.
    """
    if _UNKNOWN != (major, minor) < OLDEST:
        raise InvariantError(f"NATS {major}.{minor} is too old: {OLDEST[0]}.{OLDEST[1]} or later is needed")
