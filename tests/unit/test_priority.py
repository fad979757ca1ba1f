"""Giving way: what the process itself and the kernel say of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SESSION = Path("/proc/self/autogroup")
_GIVE_WAY = """
import os
from pathlib import Path
from headwater.priority import give_way

before = os.nice(0)
give_way(3)
session = Path("/proc/self/autogroup")
print(os.nice(0) - before)
print(session.read_text() if session.exists() else "")
"""


def given_way(*, leads_session: bool) -> tuple[int, str]:
    """By how much the process became nicer, and what the kernel says of its session: nothing, where it weighs none."""
    command = [sys.executable, "-c", _GIVE_WAY]
    done = subprocess.run(command, start_new_session=leads_session, capture_output=True, text=True, check=True)
    nicer, _, session = done.stdout.partition("\n")
    return int(nicer), session.strip()


def test_the_process_is_nicer_by_what_was_asked() -> None:
    assert given_way(leads_session=True)[0] == 3


def test_a_process_lowers_its_own_session_and_nobody_elses() -> None:
    session = given_way(leads_session=True)[1]
    if not session:
        pytest.skip("this kernel does not weigh sessions")
    assert int(session.split()[-1]) >= 3
    # A process may also belong to no session that is weighed; then its file is empty, and stays so.
    before = SESSION.read_text()
    given_way(leads_session=False)
    assert SESSION.read_text() == before
