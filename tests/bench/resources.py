"""CPU seconds and peak memory, by process of the stack, and what the rest of the machine did meanwhile."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from bench.results import ELSEWHERE


class Processes:
    """Processes by name; the children of those in ``with_children`` (Postgres' backends) count as them."""

    def __init__(self, pids: Mapping[str, int], with_children: Collection[str] = ()) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._with_children = with_children

    def cpu_seconds(self) -> dict[str, float]:
        """CPU seconds so far, user and system; under ELSEWHERE those of everything else on the machine."""
        spent = {
            name: _with_children(process) if name in self._with_children else _of_times(process.cpu_times())
            for name, process in self._processes.items()
        }
        machine = psutil.cpu_times()
        idle = machine.idle + getattr(machine, "iowait", 0.0)
        # Guests' time is in user time already.
        guests = getattr(machine, "guest", 0.0) + getattr(machine, "guest_nice", 0.0)
        return spent | {ELSEWHERE: sum(machine) - idle - guests - sum(spent.values())}

    def peak_bytes(self, name: str) -> int:
        """The largest resident set that the process itself has ever had."""
        process = self._processes[name]
        status = Path(f"/proc/{process.pid}/status")
        if status.exists():
            for line in status.read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        return int(process.memory_info().rss)


def _with_children(process: psutil.Process) -> float:
    """With the children that have ended, too."""
    times = process.cpu_times()
    total = _of_times(times) + times.children_user + times.children_system
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            total += _of_times(child.cpu_times())
    return total


def _of_times(times: Any) -> float:
    return float(times.user + times.system)
