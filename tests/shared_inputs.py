"""Where the inputs lie that tests may read beside the repository; a test that needs one skips where they are absent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

INPUTS = Path(__file__).parents[2] / "shared" / "data"
needs_inputs = pytest.mark.skipif(not INPUTS.is_dir(), reason="needs ../shared/data")


def read_json(path: str) -> Any:
    """A JSON file of the inputs; an empty list where they are absent, so that no test is made of it."""
    file = INPUTS / path
    return json.loads(file.read_text()) if file.exists() else []
