"""Taking up the plan at start: the environment's, or the one that an operator asked for.

An operator's plan, asked for over the API, stays until the environment's value changes: a restart alone must not undo
what somebody asked for, and a changed setting must not be ignored.
"""

from __future__ import annotations

import logging

from nats.js.errors import KeyNotFoundError
from nats.js.kv import KeyValue

from headwater.bus.firehose import ENVIRONMENT_KEY, FirehosePlan, new_plan
from headwater.bus.firehose_store import FirehoseStore
from headwater.clock import now_us
from headwater.errors import InvariantError

log = logging.getLogger("firehose_backfill.plan")


async def take_up_plan(control: KeyValue, store: FirehoseStore, days: int) -> FirehosePlan:
    """The plan to follow, where BACKFILL_DAYS is ``days``. Raises nats errors, and InvariantError.

    The plan is written before the environment's value is: whoever dies between the two makes the same plan again.
    """
    while True:
        plan, revision = await store.plan()
        if plan is not None and await _seen_days(control) == days:
            log.info("the backfill of %d days, asked for by the %s, goes on", plan.days, plan.requested_by)
            return plan
        plan = new_plan(days, now_us(), "environment")
        if await store.change_plan(plan, revision):
            await control.put(ENVIRONMENT_KEY, str(days).encode())
            return plan


async def _seen_days(control: KeyValue) -> int | None:
    """What BACKFILL_DAYS was at the last start; None before the first one."""
    try:
        return int((await control.get(ENVIRONMENT_KEY)).value or b"")
    except KeyNotFoundError:
        return None
    except ValueError as error:
        raise InvariantError(f"{ENVIRONMENT_KEY} is no number") from error
