"""The command: `python -m tests.bench`."""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from . import decoders, live, report, scale
from .contestants import CONTESTANTS, SERVERS, Contestant, installed_version, node_version
from .load import LoadError
from .measures import LOAD_LIMIT, MEASURES, Measure, Run, run
from .report import Row
from .server import ServerError, cores, raise_file_limit

ROUNDS = 3
SCALE_DEFAULT = ("raw", "sse_asgi")
DECODERS = "decoders"
Entrant = tuple[Contestant, str]
"""A contestant and the name of the server it runs on."""


def main() -> int:
    options = parse()
    if sys.platform != "linux":
        sys.exit("the benchmarks need Linux: they pin processes to cores and read /proc")
    raise_file_limit()
    server_core, load_core = cores()
    if options.live and (lack := live.missing()):
        sys.exit(f"--live: {lack}")
    entrants = [] if options.live else enter(options)
    os.sched_setaffinity(0, {load_core})
    setting = describe(entrants, server_core, load_core)
    print("\n".join(setting), flush=True)
    started = time.monotonic()
    rows: list[Row] = []
    if options.live:
        tables = [live.measure(core=server_core, load_core=load_core, rounds=options.rounds,
                               quick=options.quick)]  # fmt: skip
    elif options.scale:
        tables = [scale.measure(entrants, core=server_core, rate=options.rate, quick=options.quick)]
    else:
        rows, tables = compare(entrants, options, core=server_core)
    publish(tables, rows, setting, options)
    print(f"\n{time.monotonic() - started:.0f} s")
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description="Measure sse_asgi beside its peers."
    )
    names = [contestant.name for contestant in CONTESTANTS]
    measures = [*(measure.name for measure in MEASURES), DECODERS]
    add = parser.add_argument
    add(
        "--only",
        action="append",
        choices=names,
        metavar="NAME",
        default=[],
        help=f"measure this contestant and the raw loop; repeatable: {', '.join(names)}",
    )
    add(
        "--measure",
        action="append",
        choices=measures,
        metavar="NAME",
        default=[],
        help=f"take this measure only; repeatable: {', '.join(measures)}",
    )
    add("--server", choices=SERVERS, help="one server; both by default")
    add("--rounds", type=int, help=f"interleaved rounds, whose median counts; {ROUNDS} by default")
    add("--quick", action="store_true", help="one round of shorter runs")
    add("--scale", action="store_true", help="instead: cost from 10 to 5,000 open streams")
    add("--live", action="store_true", help="instead: what generations cost, with a real Redis")
    add("--rate", type=float, default=2.0, help="with --scale: chunks a second of each stream")
    add("--json", type=Path, metavar="FILE", help="write every run")
    add("--markdown", type=Path, metavar="FILE", help="write the tables")
    add("--plot", type=Path, metavar="FILE.png", help="draw the ratios")
    options = parser.parse_args()  # fmt: skip
    if options.rounds is None:
        options.rounds = 1 if options.quick else ROUNDS
    return options


def enter(options: argparse.Namespace) -> list[Entrant]:
    """Return who runs on which server; say in one line each who cannot."""
    names = {"raw", *options.only} if options.only else set()
    if options.scale and not names:
        names = set(SCALE_DEFAULT)
    runnable = list(present([each for each in CONTESTANTS if not names or each.name in names]))
    servers = (options.server,) if options.server else SERVERS
    entrants = [(each, server) for server in servers for each in runnable if not each.on_node]
    return entrants + [(each, "node") for each in runnable if each.on_node]


def present(contestants: Sequence[Contestant]) -> Iterator[Contestant]:
    for contestant in contestants:
        reason = contestant.missing()
        if reason:
            print(f"skipped {contestant.name}: {reason}", flush=True)
        else:
            yield contestant


def describe(entrants: Sequence[Entrant], server_core: int, load_core: int) -> list[str]:
    """Say on what, with which versions and by which command this was measured."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    names = ["uvicorn", "httptools", "uvloop", "granian"]
    versions = {name: installed_version(name) for name in names}
    versions |= {each.distribution: each.version() for each, _ in entrants if each.distribution}
    versions |= {each.npm: each.version() for each, _ in entrants if each.npm}
    if any(each.on_node for each, _ in entrants):
        versions["node"] = node_version()
    known = ", ".join(f"{name} {number}" for name, number in versions.items() if number)
    together = " (the same: figures are worse than they could be)"
    return [
        f"{datetime.now(UTC):%Y-%m-%d}, {processor()}, Linux {platform.release()}, {python}",
        known,
        f"servers on core {server_core}, load on core {load_core}"
        + (together if server_core == load_core else ""),
        f"python -m tests.bench {' '.join(sys.argv[1:])}".strip(),
    ]


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def compare(
    entrants: Sequence[Entrant], options: argparse.Namespace, *, core: int
) -> tuple[list[Row], list[list[list[str]]]]:
    """Take all measures in interleaved rounds; an interrupt ends them with what there is."""
    rows = [Row(contestant.name, contestant.label, server) for contestant, server in entrants]
    wanted = [each for each in MEASURES if not options.measure or each.name in options.measure]
    tables = []
    try:
        for number in range(options.rounds):
            for measure in wanted:
                print(f"round {number + 1} of {options.rounds}, {measure.name}", flush=True)
                for entrant, row in zip(entrants, rows, strict=True):
                    done = one_run(measure, entrant, raw_beside(entrant, entrants), options, core)
                    row.add(number, done.figures, done.ratios)
        if not options.measure or DECODERS in options.measure:
            tables.append(decoders.compare(core=core, quick=options.quick))
    except KeyboardInterrupt:
        print("\ninterrupted: this is what there is", file=sys.stderr)
    return rows, [report.table(rows), *tables] if wanted else tables


def raw_beside(entrant: Entrant, entrants: Sequence[Entrant]) -> Entrant | None:
    """Return the raw loop to compare with: on the same server, or the first for Node."""
    raws = [each for each in entrants if each[0].name == "raw"]
    same = [each for each in raws if each[1] == entrant[1]] or raws
    return None if entrant in raws or not same else same[0]


def one_run(
    measure: Measure,
    entrant: Entrant,
    raw: Entrant | None,
    options: argparse.Namespace,
    core: int,
) -> Run:
    """Run once; a contestant that fails is said and gives nothing, and the others go on."""
    contestant, server = entrant
    print(f"  {contestant.label} on {server}:", end=" ", flush=True)
    try:
        done = run(measure, contestant, server, raw=raw, core=core, quick=options.quick)
    except (LoadError, ServerError, OSError) as error:
        print(f"failed: {error}", flush=True)
        return Run({}, 0.0)
    print(summary(done), flush=True)
    return done


def summary(done: Run) -> str:
    figures = ", ".join(
        f"{key} {value:.2f}" + (f" ({done.ratios[key]:.2f})" if key in done.ratios else "")
        for key, value in done.figures.items()
    )
    warning = f" (the load used {done.load:.0%} of its core)" if done.load > LOAD_LIMIT else ""
    return figures + warning


def publish(
    tables: Sequence[Sequence[Sequence[str]]],
    rows: Sequence[Row],
    setting: Sequence[str],
    options: argparse.Namespace,
) -> None:
    """Print the tables and write the files that were asked for."""
    for table in tables:
        print(f"\n{report.as_text(table)}")
    if rows:
        print("\nin brackets: to the raw loop on the same server at the same time; ~ rounds differ")
    if options.markdown:
        parts = [*(f"{line}  " for line in setting), "", *map(report.as_markdown, tables)]
        options.markdown.write_text("\n".join(parts), encoding="utf-8")
    if options.json:
        content = {"setting": setting, "rows": report.as_json(rows), "tables": tables}
        options.json.write_text(json.dumps(content, indent=1), encoding="utf-8")
    if options.plot and rows:
        report.plot(rows, str(options.plot))


if __name__ == "__main__":
    sys.exit(main())
