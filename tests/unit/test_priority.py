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
print(os.nice(0) - before, session.read_text().split()[-1] if session.exists() else "")
"""


def given_way(*, leads_session: bool) -> list[str]:
    command = [sys.executable, "-c", _GIVE_WAY]
    return subprocess.run(
        command, start_new_session=leads_session, capture_output=True, text=True, check=True
    ).stdout.split()


def test_the_process_is_nicer_by_what_was_asked() -> None:
    assert given_way(leads_session=True)[0] == "3"


@pytest.mark.skipif(not SESSION.exists(), reason="this kernel does not weigh sessions")
def test_a_process_lowers_its_own_session_and_nobody_elses() -> None:
    before = SESSION.read_text()
    assert int(given_way(leads_session=True)[1]) >= 3
    given_way(leads_session=False)
    assert SESSION.read_text() == before
