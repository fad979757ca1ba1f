"""The one error of a benchmark."""

from __future__ import annotations


class VoidRunError(Exception):
    """A run that lost rows, failed or hung: what it measured counts for nothing."""
