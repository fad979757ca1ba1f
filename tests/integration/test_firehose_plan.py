"""Which plan a starting worker follows: the environment's days, or what an operator has asked for since."""

from __future__ import annotations

from backfill_rig import rig
from firehose_backfill.plan import take_up_plan
from headwater.bus.firehose import new_plan
from headwater.bus.firehose_store import FirehoseStore
from headwater.bus.streams import BUCKET_CONTROL, BUCKET_FIREHOSE
from headwater.clock import DAY_US, now_us


async def test_the_environments_days_and_an_operators_plan(nats_url: str) -> None:
    async with rig(nats_url) as bus:
        control = await bus.js.key_value(BUCKET_CONTROL)
        store = FirehoseStore(control, await bus.js.key_value(BUCKET_FIREHOSE))
        first = await take_up_plan(control, store, 7)
        assert (first.days, first.requested_by) == (7, "environment")
        assert first.cutoff_us == first.requested_at_us - 7 * DAY_US
        assert await take_up_plan(control, store, 7) == first, "a restart resumes"
        changed = await take_up_plan(control, store, 3)
        assert changed.days == 3
        assert changed.plan_id != first.plan_id
        operators = new_plan(90, now_us(), "operator")
        assert await store.change_plan(operators, (await store.plan())[1])
        assert (await take_up_plan(control, store, 3)).plan_id == operators.plan_id, "a restart alone undoes nothing"
        assert (await take_up_plan(control, store, 0)).days == 0, "a changed setting counts"
