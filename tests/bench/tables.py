"""Figures, verdicts and tables in Markdown. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def at_least(value: float, target: float) -> str:
    """The verdict on a value that should not be below its target."""
    return "PASS" if value >= target else f"**short by {(1 - value / target) * 100:.0f} %**"


def at_most(value: float, target: float) -> str:
    """The verdict on a value that should not be above its target."""
    return "PASS" if value <= target else f"**over by {(value / target - 1) * 100:.0f} %**"


def whole(number: float) -> str:
    """A figure without decimals."""
    return f"{number:,.0f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
