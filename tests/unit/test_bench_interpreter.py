"""Which Python is measured with."""

from __future__ import annotations

import subprocess
from pathlib import Path

import bench

SCRIPT = Path(bench.__file__).with_name("interpreter.sh")


def _python(folder: Path, name: str, answer: str) -> Path:
    """Stands for an interpreter, which is asked for its version and the time of a loop."""
    folder.mkdir(exist_ok=True)
    python = folder / name
    python.write_text(f"#!/bin/sh\n{answer}\n")
    python.chmod(0o755)
    return python


def _chosen(asked: Path, *path: Path) -> str:
    found = subprocess.run(
        [SCRIPT, asked], env={"PATH": ":".join(map(str, path))}, capture_output=True, text=True, check=True
    )
    return found.stdout.strip()


def test_the_fastest_of_the_same_version_is_taken(tmp_path: Path) -> None:
    asked = _python(tmp_path / "a", "python3", "echo 3.12 1000")
    _python(tmp_path / "b", "python3", "echo 3.12 850")
    fastest = _python(tmp_path / "b", "python3.12", "echo 3.12 700")
    _python(tmp_path / "c", "python3", "echo 3.14 100")
    _python(tmp_path / "d", "python3", "exit 1")
    assert _chosen(asked, *(tmp_path / name for name in "abcd")) == str(fastest)


def test_the_one_that_is_asked_for_is_taken_where_none_is_clearly_faster(tmp_path: Path) -> None:
    asked = _python(tmp_path / "a", "python3", "echo 3.12 1000")
    _python(tmp_path / "b", "python3", "echo 3.12 950")
    assert _chosen(asked, tmp_path / "a", tmp_path / "b", tmp_path / "nowhere") == str(asked)


def test_one_that_does_not_answer_is_left_to_say_so_itself(tmp_path: Path) -> None:
    asked = _python(tmp_path / "a", "python3", "exit 1")
    _python(tmp_path / "b", "python3", "echo 3.12 700")
    assert _chosen(asked, tmp_path / "b") == str(asked)
