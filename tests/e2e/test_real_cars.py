"""Exports of real accounts, imported by the command line and verified against their keys."""

from __future__ import annotations

from collections import Counter
from typing import Any

import asyncpg
import pytest

from e2e import command
from e2e.running_stack import RunningStack
from e2e.table import assert_same, cids_of, rows_of
from shared_inputs import INPUTS, needs_inputs, read_json
from simulator import car, dagcbor

CARS: dict[str, Any] = read_json("cars/index.json") or {}


@needs_inputs
@pytest.mark.parametrize("name", CARS)
async def test_a_real_export_is_in_the_table(stack: RunningStack, database: asyncpg.Connection, name: str) -> None:
    known, file = CARS[name], INPUTS / "cars" / name
    done = await command.run(stack.home, "import", str(file), "--did-key", known["did_key"], "--json")
    assert (done.code, done.document["rejected"]) == (0, {}), done
    assert (done.document["rev"], done.document["records_written"]) == (known["rev"], known["records"])
    rows = await rows_of(database, known["did"])
    assert Counter(collection for collection, _ in rows) == known["collections"]
    # Another decoder than Headwater's reads the same values from the blocks.
    blocks = {dagcbor.cid_text(cid): block for cid, block in car.read(file.read_bytes())}
    values = {key: (cid, dagcbor.to_json(dagcbor.decode(blocks[cid]))) for key, (cid, _) in rows.items()}
    assert_same(rows, values)


@needs_inputs
async def test_a_real_export_is_what_another_implementation_lists(
    stack: RunningStack, database: asyncpg.Connection
) -> None:
    known, file = CARS["calabro-small.car"], INPUTS / "cars" / "calabro-small.car"
    done = await command.run(stack.home, "import", str(file), "--did-key", known["did_key"], "--json")
    assert done.code == 0
    listing = {}
    for line in (INPUTS / "cars" / "calabro-small.records.tsv").read_text().splitlines():
        path, cid = line.split("\t")
        collection, _, rkey = path.partition("/")
        listing[collection, rkey] = cid
    assert len(listing) == known["records"]
    assert_same(await cids_of(database, known["did"]), listing)


@needs_inputs
async def test_a_real_export_under_a_wrong_key_is_refused(stack: RunningStack, database: asyncpg.Connection) -> None:
    file, key = INPUTS / "cars" / "tiny.car", CARS["bnewbold.car"]["did_key"]
    refused = await command.run(stack.home, "import", str(file), "--did-key", key, "--json")
    assert (refused.code, refused.document["reason"]) == (1, "bad_signature")
