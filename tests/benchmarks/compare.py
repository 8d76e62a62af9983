"""All contenders in one run, one after the other, on grounds that are alike: `python -m tests.benchmarks.compare`."""

import signal
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

import click

from tests.benchmarks import race, records
from tests.benchmarks.contenders import CONTENDERS, Contender
from tests.benchmarks.grounds import ROOMY, SHORT, ground, scaled
from tests.servers import own_postgres

T = TypeVar("T")


def named(known: Mapping[str, T], _context: click.Context, _parameter: click.Parameter, text: str) -> dict[str, T]:
    """Those of the known ones whose names are given, with commas; all where none is."""
    wanted = text.split(",") if text else list(known)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise click.BadParameter(f"nothing is called {', '.join(unknown)}; there are: {', '.join(known)}")
    return {name: known[name] for name in wanted}


@click.command(context_settings={"show_default": True})
@click.option("--rows", default="10,100", help="How many rows, each number a run.")
@click.option("--latencies", default="short", type=click.Choice(["short", "real"]), help="How long the service takes.")
@click.option("--factor", default=10.0, help="What real-life times are divided by.")
@click.option("--at-once", default=64, type=click.IntRange(0), help="The window; 0 opens it.")
@click.option(
    "--contenders", default="", callback=partial(named, CONTENDERS), help="Their names with commas; without it, all."
)
@click.option("--limit", default=300.0, help="Seconds after which a contender is stopped.")
@click.option("--kill", "kills", is_flag=True, help="Kill each worker half-way and see what becomes of the rows.")
@click.option("--results", default=records.RESULTS, type=click.Path(path_type=Path), help="Where the lines are kept.")
def main(
    rows: str,
    latencies: str,
    factor: float,
    at_once: int,
    contenders: dict[str, Contender],
    limit: float,
    kills: bool,
    results: Path,
) -> None:
    """Measure, keep a line for each, and print how it stands to the last of its kind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that everything that was started ends, as by Ctrl-C
    times = scaled(factor) if latencies == "real" else SHORT
    told = {"latencies": times.name, "factor": times.factor, "at_once": at_once, "limit_s": limit}
    runs = [(int(count), contender) for count in rows.split(",") for contender in contenders.values()]
    with own_postgres(ROOMY) as postgresql:
        for count, contender in runs:
            record: records.Record = {
                "kind": "kill" if kills else "race",
                "name": contender.name,
                "rows": count,
                **told,
            }
            record |= records.stamp(contender.packages)
            click.echo(f"\n{record['kind']}: {contender.name}, {count:,} rows, {times.name} latencies")
            try:
                with ground(times, count, at_once, postgresql) as place:
                    record |= (race.kill if kills else race.run)(contender, place, limit)
            except (OSError, RuntimeError) as error:
                record["failed"] = str(error)
            if why := record.get("failed") or record.get("said"):
                click.echo(f"  {why.strip()[-1000:]}")
            if not kills and not record.get("finished"):
                click.echo(f"  {record.get('done', 0)} rows done; not within {limit:g} s")
            if human := record.get("human"):
                click.echo(f"  what a human did: {', then '.join(human)}")
            records.tell_and_keep(record, results)


if __name__ == "__main__":
    main()
