"""A program of the simulator in a process of its own, so that what it costs can be told from what is measured."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_TESTS = Path(__file__).resolve().parents[1]
_STOP_SECONDS = 10.0


@contextmanager
def simulator_process(module: str, *arguments: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Run ``python -m module``: its pid, and the line of JSON in which it says where it is. Ended with the block."""
    command = [sys.executable, "-m", module, *arguments]
    process = subprocess.Popen(command, cwd=_TESTS, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    try:
        yield process.pid, json.loads(process.stdout.readline())
    finally:
        process.stdout.close()
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
