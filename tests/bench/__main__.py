"""`python -m bench`: measures, and writes bench/RESULTS.md."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from bench.errors import VoidRunError
from bench.firehose_report import firehose_report
from bench.measure import measure, measure_firehose
from bench.report import render
from bench.sizes import FULL, QUICK

_RESULTS = Path(__file__).resolve().parents[2] / "bench" / "RESULTS.md"
_CACHE = Path(tempfile.gettempdir()) / "headwater-bench"


def main() -> int:
    """Run it; 0 when every run counted, whatever it came to."""
    arguments = _arguments()
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {text}", file=sys.stderr, flush=True)

    sizes = QUICK if arguments.quick else FULL
    try:
        if arguments.firehose:
            print(firehose_report(*asyncio.run(measure_firehose(sizes, arguments.cache, say))))
            return 0
        results = asyncio.run(measure(sizes, arguments.cache, say))
    except VoidRunError as error:
        print(f"bench: void: {error}", file=sys.stderr)
        return 1
    report = render(results)
    print(report)
    output = arguments.output or (None if arguments.quick else _RESULTS)
    if output is not None:
        output.parent.mkdir(exist_ok=True)
        output.write_text(report, encoding="utf-8")
        say(f"written to {output}")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, to try the benchmark itself; writes no file")
    parser.add_argument("--firehose", action="store_true", help="the firehose alone; writes no file")
    parser.add_argument("--output", type=Path, help="write the report here")
    parser.add_argument("--cache", type=Path, default=_CACHE, help=f"where large repos are kept (default: {_CACHE})")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
