"""``make demo`` does what it promises: a network, the stack, the accounts, a table, and an end."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_demo_runs_to_its_end(tmp_path: Path) -> None:
    finished = subprocess.run(
        [sys.executable, str(ROOT / "deploy/demo.py"), "--accounts", "2", "--records", "300", "--no-keep"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=110,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    written = [int(number.replace(",", "")) for number in re.findall(r"([\d,]+) records written", finished.stderr)]
    in_postgres = re.findall(r"^│ \S+ +│ +([\d,]+) │", finished.stdout, re.MULTILINE)
    assert len(written) == 2
    assert all(number >= 300 for number in written)
    assert sum(int(number.replace(",", "")) for number in in_postgres) == sum(written)
    assert "all 4 accounts have in Postgres what they have on their PDS" in finished.stdout
    assert re.search(r"1 closed lately", finished.stdout), "a gap was made and closed"
    assert re.search(r"^panel  http://127\.0\.0\.1:\d+/user$", finished.stdout, re.MULTILINE)
