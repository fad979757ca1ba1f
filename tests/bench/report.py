"""The results as Markdown. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from bench.firehose_report import frames_section, frames_target, live_section, live_targets
from bench.results import (
    CHANGED_TARGET,
    COPY_TARGET,
    ELSEWHERE,
    FULL_TARGET,
    MEMORY_TARGET,
    SINGLES_TARGET,
    Race,
    Results,
    Stages,
    cpu_per_records,
    medians,
    rate,
)
from bench.tables import at_least, at_most, table, whole

_PER = 100_000


def render(results: Results) -> str:
    """The whole report."""
    parts = (
        "# Benchmarks",
        "Written by `make bench`, in one run on one machine; edited by nobody. How it is measured stands at the end.",
        table(("", ""), results.machine.items()),
        "## Targets",
        _targets(results),
        "## Every run",
        _runs(results),
        "## Where the time goes",
        _where(results.one),
        _where(results.many),
        _stages(results.stages),
        frames_section(results.frames),
        live_section(results.live),
        "## How it is measured",
        _METHOD,
    )
    return "\n\n".join(parts) + "\n"


def _targets(results: Results) -> str:
    rows: list[Sequence[str]] = []
    for race in (results.one, results.many):
        runs = str(len(race.imports))
        rows += (
            (
                f"{race.name}, records/s",
                whole(race.rate),
                f"COPY {whole(median(race.copy_rates))}",
                f"{race.of_copy:.2f} ×",
                f"≥ {COPY_TARGET} ×",
                at_least(race.of_copy, COPY_TARGET),
                runs,
            ),
            (
                f"{race.name}, records/s",
                whole(race.rate),
                f"COPY with the partitions and indexes of `record` {whole(median(race.whole_copy_rates))}",
                f"{race.of_whole_copy:.2f} ×",
                "",
                "",
                runs,
            ),
            (
                f"{race.name}, records/s",
                whole(race.rate),
                f"one INSERT at a time {whole(median(race.insert_rates))}",
                f"{race.of_inserts:.1f} ×",
                f"≥ {SINGLES_TARGET:.0f} ×",
                at_least(race.of_inserts, SINGLES_TARGET),
                runs,
            ),
        )
    rows += (_unchanged(results), _changed(results), *_memory(results), _full(results))
    rows += (frames_target(results.frames), *live_targets(results.live))
    head = ("what", "measured", "beside", "comes to", "target", "", "runs")
    return table(head, rows)


def _unchanged(results: Results) -> Sequence[str]:
    again = results.again
    worst = max(again.requests, key=len)
    one_and_no_car = all(len(asked) == 1 and "getRepo" not in asked[0] for asked in again.requests)
    return (
        "the same repo again, unchanged",
        f"{median(run.seconds for run in again.unchanged):.2f} s",
        "",
        f"{len(worst)} request{'s' * (len(worst) != 1)}: {', '.join(_short(name) for name in worst)}",
        "1 request, no CAR",
        "PASS" if one_and_no_car else "**more than that**",
        str(len(again.unchanged)),
    )


def _changed(results: Results) -> Sequence[str]:
    changed, first = rate(results.again.changed), results.one.rate
    return (
        "the same repo again, 1 % changed, records/s",
        whole(changed),
        f"first import {whole(first)}",
        f"{changed / first:.2f} ×",
        f"≥ {CHANGED_TARGET:.0f} ×",
        at_least(changed / first, CHANGED_TARGET),
        str(len(results.again.changed)),
    )


def _memory(results: Results) -> Iterable[Sequence[str]]:
    done = results.huge.done
    for name, peak in results.huge.peak_bytes.items():
        yield (
            f"peak memory of {name}, a repo of {done.records:,} records",
            f"{peak / 1e6:.0f} MB",
            "",
            f"at {whole(done.rate)} records/s",
            f"≤ {MEMORY_TARGET / 1e6:.0f} MB",
            at_most(peak, MEMORY_TARGET),
            "1",
        )


def _full(results: Results) -> Sequence[str]:
    into_full, into_empty = rate(results.full.imports), rate(results.full.empty)
    return (
        f"{results.many.name} into a table of {results.full.rows:,} rows, records/s",
        whole(into_full),
        f"empty table {whole(into_empty)}",
        f"{into_full / into_empty:.2f} ×",
        f"≥ {FULL_TARGET} ×",
        at_least(into_full / into_empty, FULL_TARGET),
        str(len(results.full.imports)),
    )


def _runs(results: Results) -> str:
    rows: list[Sequence[str]] = []
    for race in (results.one, results.many):
        rows += (
            (race.name, "Headwater", _rates(run.rate for run in race.imports)),
            ("", "COPY", _rates(race.copy_rates)),
            ("", "COPY with partitions and indexes", _rates(race.whole_copy_rates)),
            ("", "one INSERT at a time", _rates(race.insert_rates)),
        )
    rows += (
        ("again, unchanged", "Headwater, seconds", ", ".join(f"{run.seconds:.2f}" for run in results.again.unchanged)),
        ("again, 1 % changed", "Headwater", _rates(run.rate for run in results.again.changed)),
        (f"one repo of {results.huge.done.records:,}", "Headwater", whole(results.huge.done.rate)),
        ("into the full table", "Headwater", _rates(run.rate for run in results.full.imports)),
        ("into the empty one after it", "Headwater", _rates(run.rate for run in results.full.empty)),
    )
    return table(("", "", "records/s by run"), rows)


def _where(race: Race) -> str:
    spent = cpu_per_records(race.imports, _PER)
    elsewhere = spent.pop(ELSEWHERE, 0.0)
    total = sum(spent.values())
    wall = _PER / race.rate
    rows = [(name, f"{seconds:.2f}", f"{seconds / total * 100:.0f} %") for name, seconds in spent.items()]
    return (
        f"{race.name}: {total:.2f} CPU seconds in {wall:.2f} s of time for {_PER:,} records, "
        f"{total / wall:.1f} cores busy; everything else on the machine kept {elsewhere / wall:.1f} busy.\n\n"
        + table(("process", f"CPU s per {_PER:,} records", "share"), [*rows, ("all", f"{total:.2f}", "100 %")])
    )


def _stages(stages: Stages) -> str:
    rows: list[Sequence[str]] = []
    for service, runs in (("repo-backfill", stages.producer), ("indexer", stages.indexer)):
        alone = medians(runs)
        rows += (
            (
                service if position == 0 else "",
                name,
                f"{seconds / stages.records * 1e6:.2f}",
                whole(stages.records / seconds),
            )
            for position, (name, seconds) in enumerate(alone.items())
        )
        seconds = sum(alone.values())
        rows.append(("", "together", f"{seconds / stages.records * 1e6:.2f}", whole(stages.records / seconds)))
    return (
        f"The parts of the path alone, one after the other in one process, {stages.records:,} records; COPY, commit "
        "and publish include what Postgres and NATS do meanwhile:\n\n"
        + table(("", "stage", "µs a record", "records/s"), rows)
    )


def _rates(rates: Iterable[float]) -> str:
    return ", ".join(map(whole, rates))


def _short(method: str) -> str:
    return method.rpartition(".")[2]


_METHOD = """\
- The stack is `headwater up` with its default settings in a fresh home: embedded Postgres and NATS, one worker of each
  service. The network is the simulator, in a process of its own, with every CAR built beforehand. All of it, and the
  benchmark itself, shares this machine and speaks over loopback. The Python is the fastest of its version on PATH
  (`tests/bench/interpreter.sh`): one built without profile-guided optimization is a fifth slower.
- The clock runs from the first request to the operator's API to the commit of the transaction in which the last job
  was done, as Postgres notes it (`track_commit_timestamp`, for imports and yardsticks alike). After each run the rows
  of every account are counted against the simulator's books; a run that lost or invented one ends the benchmark.
- Before each run the table is empty (but where the row says otherwise), no account has been imported before, and a
  CHECKPOINT has been made. A small import, which does not count, warms the stack up.
- The yardsticks write the rows of the import before them, read from the table, into a table of the same columns, types
  and primary key, without partitions and further indexes, in the same Postgres, in the order of the primary key:
  one COPY of ready tuples on one connection; the same into a table with the partitions and indexes of `record`, which
  nothing that fills that table can surpass, and which has no target; and a sample of rows, each by a prepared
  INSERT ... ON CONFLICT that is committed by itself. Imports and yardsticks take turns.
- The full table is made of imported rows multiplied under other DIDs, then VACUUM (ANALYZE). The empty one that it is
  compared with is measured right after it, as machines change their pace within minutes.
- The frames are the simulator's, made beforehand: signed commits of many accounts with one to three operations, each
  with the tree nodes that prove it, as a relay sends them. A process of its own sends them, from a file. The time of a
  row is that of its transaction's commit, as Postgres notes it (track_commit_timestamp): the row is visible one flush
  of the log to disk later. The rows of all frames are counted, and one too few or too many ends the benchmark. Beside
  the import only frames count that left after its first rows were there and before it was done; fewer than half of
  them end the benchmark.
- Figures are medians of the runs; ratios are ratios of medians. Peak memory is VmHWM at the end of all the imports
  above, hence over the whole life of the process. CPU seconds are user and system time, of Postgres with all its
  backends."""
