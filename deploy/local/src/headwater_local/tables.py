"""How tables and durations look on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.table import Table


def plain_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table with a title; it says ``none`` when there is no row."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="dim", min_width=40)
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*row)
    if not table.row_count:
        table.add_row("none")
    return table


def duration(seconds: float) -> str:
    """In the largest unit of which there are two or more."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
