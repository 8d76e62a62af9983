"""All contenders in one run, one after the other, on grounds that are alike: `python -m tests.benchmarks.compare`."""

import signal
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from tests.benchmarks import killing, race, records
from tests.benchmarks.contenders import CONTENDERS, Contender
from tests.benchmarks.grounds import ALL, ROOMY, Latencies, ground, scaled
from tests.servers import Postgres, own_postgres

T = TypeVar("T")


def _numbers(_context: click.Context, _parameter: click.Parameter, text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise click.BadParameter("give whole numbers with commas between them") from None


def named(known: Mapping[str, T], _context: click.Context, _parameter: click.Parameter, text: str) -> dict[str, T]:
    """Those of the known ones whose names are given, with commas; all where none is."""
    wanted = text.split(",") if text else list(known)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise click.BadParameter(f"nothing is called {', '.join(unknown)}; there are: {', '.join(known)}")
    return {name: known[name] for name in wanted}


@click.command(context_settings={"show_default": True})
@click.option("--rows", default="10,100", callback=_numbers, help="How many rows, each number a run.")
@click.option("--latencies", default="short", type=click.Choice(sorted(ALL)), help="How long the service takes.")
@click.option("--factor", default=10.0, help="What real-life times are divided by.")
@click.option("--at-once", default=64, type=click.IntRange(0), help="The window; 0 opens it.")
@click.option(
    "--contenders", default="", callback=partial(named, CONTENDERS), help="Their names with commas; without it, all."
)
@click.option("--limit", default=300.0, help="Seconds after which a contender is stopped.")
@click.option("--kill", "kills", is_flag=True, help="Kill each worker half-way and see what becomes of the rows.")
@click.option("--patience", default=killing.PATIENCE, help="Seconds of quiet before a user steps in after a kill.")
@click.option("--results", default=records.RESULTS, type=click.Path(path_type=Path), help="Where the lines are kept.")
def main(
    rows: list[int], latencies: str, factor: float, contenders: dict[str, Contender], results: Path, **told: Any
) -> None:
    """Measure, keep a line for each, and print how it stands to the last of its kind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that everything that was started ends, as by Ctrl-C
    times = scaled(factor) if latencies == "real" else ALL[latencies]
    with own_postgres(ROOMY) as postgresql:
        for count in rows:
            for contender in contenders.values():
                record = _one(contender, times, count, postgresql, **told)
                _tell(record, results)
                records.keep(record, results)


def _one(
    contender: Contender,
    times: Latencies,
    rows: int,
    postgresql: Postgres,
    *,
    at_once: int,
    limit: float,
    kills: bool,
    patience: float,
) -> records.Record:
    record = {
        "kind": "kill" if kills else "race",
        "name": contender.name,
        "rows": rows,
        "latencies": times.name,
        "factor": times.factor,
        "at_once": at_once,
        "limit_s": limit,
        **records.stamp(contender.packages),
    }
    try:
        with ground(times, rows, at_once, postgresql) as place:
            run = killing.kill(contender, place, limit, patience) if kills else race.run(contender, place, limit)
            return {**record, **run}
    except (race.DidNotStart, OSError, RuntimeError) as error:
        return {**record, "failed": str(error)}


def _tell(record: records.Record, results: Path) -> None:
    before = records.last_like(record, records.read(results))
    click.echo(f"\n{record['kind']}: {record['name']}, {record['rows']:,} rows, {record['latencies']} latencies")
    if why := record.get("failed") or record.get("said"):
        click.echo(f"  {why.strip()[-1000:]}")
    if record["kind"] == "race" and not record.get("finished"):
        click.echo(f"  {record.get('done', 0)} rows done; not within {record['limit_s']:g} s")
    if human := record.get("human"):
        click.echo(f"  what a human did: {', then '.join(human)}")
    for line in records.changes(record, before):
        click.echo(f"  {line}")


if __name__ == "__main__":
    main()
