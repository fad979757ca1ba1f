"""A simulated network as a process of its own: prints one JSON line that describes it, then serves until stopped."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import time
from pathlib import Path

import uvloop

from .control import ControlHost
from .tid import DEFAULT_NOW_US
from .world import World

_QUIET_US = 100 * 86_400 * 1_000_000


def main() -> None:
    uvloop.run(_serve(_arguments()))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m simulator", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the same seed makes the same world (default: 0)")
    parser.add_argument("--hosts", type=int, default=1, help="number of PDSes (default: 1)")
    parser.add_argument(
        "--accounts", type=int, default=3, help="number of accounts, spread over the PDSes (default: 3)"
    )
    parser.add_argument("--records", type=int, default=1000, help="records of each account (default: 1000)")
    parser.add_argument("--odd", action="store_true", help="give each account the awkward records, too")
    parser.add_argument("--recent", action="store_true", help="let the history end now, not on a fixed date")
    parser.add_argument(
        "--live", action="store_true", help="with --recent: let what is written from now on have the true time"
    )
    parser.add_argument(
        "--quiet", type=int, default=0, help="accounts, the first ones, that have written nothing for 100 days"
    )
    parser.add_argument("--days-ago", type=float, default=0, help="with --recent: let it end so many days ago")
    parser.add_argument("--cache", type=Path, help="directory for large repos, taken up again at the next start")
    parser.add_argument("--plc-port", type=int, default=0, help="port of the PLC directory (default: any)")
    parser.add_argument("--relay-port", type=int, default=0, help="port of the relay (default: any)")
    parser.add_argument("--control-port", type=int, default=0, help="port of the control API (default: any)")
    return parser.parse_args()


async def _serve(arguments: argparse.Namespace) -> None:
    # An hour back, so that the clock, which ticks at every write, does not overtake the true one.
    recent_us = (int(time.time()) - 3600 - int(arguments.days_ago * 86_400)) * 1_000_000
    now_us = recent_us if arguments.recent else DEFAULT_NOW_US
    world = World(
        arguments.seed,
        now_us=now_us - _QUIET_US if arguments.quiet else now_us,
        hosts=arguments.hosts,
        cache=arguments.cache,
        plc_port=arguments.plc_port,
        relay_port=arguments.relay_port,
    )
    for number in range(arguments.quiet + arguments.accounts):
        if number == arguments.quiet:
            world.clock.now_us = max(now_us, world.clock.now_us)
        account = world.add_account()
        account.seed_records(arguments.records)
        if arguments.odd:
            account.seed_odd_records()
        account.car()
    world.clock.follows = arguments.live
    control = ControlHost(world, arguments.control_port)
    stopped = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, stopped.set)
    async with world:
        await control.start()
        print(json.dumps(world.describe() | {"control_url": control.url}), flush=True)
        await stopped.wait()
        await control.close()


if __name__ == "__main__":
    main()
