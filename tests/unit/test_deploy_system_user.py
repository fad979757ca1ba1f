"""Root lets Postgres' own user reach what it needs, and opens no more than that."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from headwater_local import system_user


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_user, "server_user", lambda: "someone")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("as_root")
def test_directories_can_be_passed_but_not_listed(tmp_path: Path) -> None:
    (tmp_path / "closed" / "home").mkdir(parents=True)
    (tmp_path / "closed").chmod(0o700)
    system_user.let_traverse(tmp_path / "closed" / "home")
    assert mode(tmp_path / "closed") == 0o701


@pytest.mark.usefixtures("as_root")
def test_a_tree_of_a_strict_umask_becomes_readable_but_not_writable(tmp_path: Path) -> None:
    tree = tmp_path / "wheel"
    tree.mkdir(mode=0o700)
    for name, before in (("program", 0o700), ("library", 0o600)):
        (tree / name).touch()
        (tree / name).chmod(before)
    system_user.let_read(tree, tree / "program")
    assert (mode(tree), mode(tree / "program"), mode(tree / "library")) == (0o705, 0o705, 0o604)


def test_nothing_changes_for_other_callers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_user, "server_user", lambda: None)
    tmp_path.chmod(0o700)
    system_user.let_traverse(tmp_path)
    system_user.let_read(tmp_path, tmp_path)
    assert mode(tmp_path) == 0o700
