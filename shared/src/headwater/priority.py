"""How a process that can wait leaves the machine to those that cannot: live events go before history."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

log = logging.getLogger("headwater.priority")

_SESSION_NICE: Final = Path("/proc/self/autogroup")


def give_way(nice: int) -> None:
    """Lower this process's scheduling priority by ``nice`` (1 to 19); an idle machine is its own all the same.

    Linux may weigh whole sessions against each other, and niceness only within each (sched(7), "The autogroup
    feature"): a process that leads its session lowers that, too. In a container neither reaches beyond it.
    """
    now = os.nice(nice)
    if os.getsid(0) == os.getpid():
        with suppress(OSError):  # no Linux, or no such feature
            _SESSION_NICE.write_text(str(now))
    log.debug("runs at niceness %d", now)
