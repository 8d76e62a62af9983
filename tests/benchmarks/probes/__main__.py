"""`python -m tests.benchmarks.probes`: each probe's figures, kept as a line and printed beside the last."""

import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import click

from tests.benchmarks import records
from tests.benchmarks.compare import named
from tests.benchmarks.contenders import CONTENDERS
from tests.benchmarks.grounds import ROOMY
from tests.benchmarks.probes import answering, manifests, standing, starting, stored
from tests.servers import Postgres, own_postgres


@dataclass(frozen=True, slots=True)
class Probe:
    """One thing that is measured, and its size: the one that the goal names, and one to try it with."""

    measure: Callable[[Postgres, int], dict[str, float]]
    size: int
    small: int


PROBES: Final = {
    "help": Probe(starting.help_, 20, 3),
    "manifest-1000": Probe(manifests.handed_in, 1_000, 10),
    "manifest-10000": Probe(manifests.handed_in, 10_000, 10),
    "manifest-100000": Probe(manifests.handed_in, 100_000, 10),
    "idle": Probe(standing.idle, 60, 5),
    "open-streams": Probe(standing.open_streams, 1_000, 10),
    "waiting": Probe(standing.waiting, 5_000, 10),
    "sizes": Probe(stored.sizes, 1_000, 10),
    "answers": Probe(answering.answers, 1_000_000, 1_000),
}


@click.command(context_settings={"show_default": True})
@click.option("--names", default="", callback=partial(named, PROBES), help="With commas; without it, all.")
@click.option("--small", is_flag=True, help="Only to see that they work: the figures mean nothing.")
@click.option("--results", default=records.RESULTS, type=click.Path(path_type=Path), help="Where the lines are kept.")
def main(names: dict[str, Probe], small: bool, results: Path) -> None:
    """Measure what is asked for; one that fails says why, and the next is measured."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if small and results == records.RESULTS:
        raise click.UsageError("--small needs --results: what it measures does not belong among the real figures")
    with own_postgres(ROOMY) as postgresql:
        for name, probe in names.items():
            _one(name, probe, postgresql, results, small=small)


def _one(name: str, probe: Probe, postgresql: Postgres, results: Path, *, small: bool) -> None:
    size = probe.small if small else probe.size
    click.echo(f"\nprobe: {name}, {size:,}")
    try:
        figures = probe.measure(postgresql, size)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other probes go on
        click.echo(f"  {type(error).__name__}: {str(error)[-1000:]}")
        return
    stamp = records.stamp(CONTENDERS["reelq-1"].packages)
    record = {"kind": "probe", "name": name, "rows": size, "figures": figures, **stamp}
    for line in records.changes(record, records.last_like(record, records.read(results))):
        click.echo(f"  {line}")
    records.keep(record, results)


if __name__ == "__main__":
    main()
