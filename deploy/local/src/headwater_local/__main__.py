"""``python -m headwater_local`` is the ``headwater`` command."""

from __future__ import annotations

from headwater_local.cli import main

main()
