"""docs/benchmarks.md out of the records: `python -m tests.benchmarks.page`."""

import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click

from tests.benchmarks.contenders import CONTENDERS
from tests.benchmarks.goals import GOALS
from tests.benchmarks.plots import plot
from tests.benchmarks.records import FOLDER, RESULTS, Record, figure, newest, read

Row = Sequence[object]

_PLOTS: Final = (
    ("makespan", "Makespan over the ideal", "times the ideal", "over_ideal"),
    ("worker-cpu", "Processor time of the worker for a row", "milliseconds", "cpu_ms_per_row.worker"),
    ("stage-delay", "Delay between stages, median", "seconds", "stage_delay_s.median"),
    ("memory", "Memory of the worker at most", "MB", "peak_mb.worker"),
)
_RACE: Final = {
    "makespan, s": ("makespan_s",),
    "over the ideal": ("over_ideal",),
    "worker, ms a row": ("cpu_ms_per_row.worker",),
    "handing in": ("cpu_ms_per_row.handing_in",),
    "server": ("cpu_ms_per_row.server",),
    "broker": ("cpu_ms_per_row.broker",),
    "database": ("cpu_ms_per_row.database",),
    "stand-in": ("cpu_ms_per_row.sandbox",),
    "memory, MB": ("peak_mb.worker",),
    "between stages: median, 95 %, most, s": ("stage_delay_s.median", "stage_delay_s.p95", "stage_delay_s.most"),
    "done to noticed: median, most, s": ("noticed_s.median", "noticed_s.most"),
    "latest look, s": ("look_late_s.most",),
}
"""Columns, each with its figures."""
_KILL: Final = {
    "under way": "under_way",
    "lost": "lost",
    "sent twice": "sent_twice",
    "claimed again after, s": "claimed_again_s",
    "all go on after, s": "all_going_on_s",
    "all done after, s": "whole_after_s",
}
_NO_MODEL: Final = re.compile(r"\((?:R|TM)\)|\b(?:CPU|Processor)\b|@")
"""What a processor's name says beside its maker, its model and its pace."""
_HOW_TO_READ: Final = """\
All contenders take the same six steps with the same checks, against a stand-in of the service in a process of its own;
delays are read from its book of requests. The window is open in the plots and for the goals: as many at once as there
are rows (but for prefork, which has 32 processes). A closed one is no like measure: reelq's counts rows between upload
and download, one of Celery, Dramatiq or Procrastinate counts tasks at work, so that rows whose renders are waited for
make room for others where the library can wait without a worker. With real latencies a render takes twice the interval
between two looks: a client whose second look comes a moment too early notices 30 s later, which is luck as much as
speed. Rows that wait are looked at one by one, as the service knows no other way: what as many bare requests of httpx
take is `bare_looks_percent`, below which no client over httpx can come;
[what others take](decisions/0013-a-wait-costs-its-looks.md). Runs of the same code differ by a tenth, and machines by
half: figures that are to be held beside each other are those of one day.
"""
_OF_KILLS: Final = """\
An instruction that was on its way to the service when the worker was killed may have arrived, or not. Who sends it
again may pay twice: that is what "sent twice" counts. reelq reads what became of it, for as long as a stream can live
(900 s where an edit takes 20 s, and in that proportion here); then the row has failed as `edit_unconfirmed`, and a
retry sends it.
"""


@click.command()
@click.option("--results", default=RESULTS, type=click.Path(path_type=Path), help="The records.")
@click.option("--page", default=FOLDER.with_suffix(".md"), type=click.Path(path_type=Path), help="What is written.")
def main(results: Path, page: Path) -> None:
    """Write the page and its plots."""
    records = read(results)
    folder = page.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    for name, title, up, which in _PLOTS:
        for latencies in _values(records, "latencies"):
            picture = plot(f"{title}, {latencies} latencies", "rows", up, _lines(records, latencies, which))
            (folder / f"{name}-{latencies}.svg").write_text(picture, encoding="utf-8")
    page.write_text("\n".join(_page(records, folder.name)), encoding="utf-8")


def _page(records: Sequence[Record], folder: str) -> Iterator[str]:
    yield "# Benchmarks\n"
    yield from _provenance(records)
    yield _HOW_TO_READ
    yield "## Goals\n"
    yield from _table(("figure", "goal", "measured", ""), _goals(records))
    for latencies in _values(records, "latencies"):
        yield f"## {latencies.capitalize()} latencies\n"
        for name, title, *_ in _PLOTS:
            yield f"![{title}]({folder}/{name}-{latencies}.svg)\n"
        alike = [each for each in records if each.get("latencies") == latencies]
        for factor in _values(alike, "factor"):
            for at_once in _values(alike, "at_once"):
                yield from _races(alike, latencies, factor, at_once)
    yield "## Killed half-way\n"
    yield _OF_KILLS
    for rows in _sizes(records, "kill"):
        yield f"### {rows:,} rows killed half-way\n"
        yield from _table(("contender", *_KILL, "what a human does", "measured"), _kills(records, rows))
    yield "## Beside the runs\n"
    yield from _table(("what", "figure", "value", "measured"), _probes(records))


def _provenance(records: Sequence[Record]) -> Iterator[str]:
    if not records:
        yield "Nothing has been measured yet: `make bench` does.\n"
        return
    last = records[-1]
    machine = last["machine"]
    words = (
        f"Measured by `make bench` and `make bench-full`, or by parts of them. Each figure is the newest of its kind "
        f"in [results.jsonl](benchmarks/results.jsonl); [what its lines hold](benchmarks/format.md). The newest line "
        f"is of {last['date'][:10]}, at commit {last['commit']}, on a machine with {machine['cores']} cores "
        f"({machine['processor']}) and {machine['memory_gb']} GB of memory. Others are older, and may be of other "
        f"machines: the last column of the races, the kills and what stands beside the runs tells the day, the commit "
        f"and the processor."
    )
    yield textwrap.fill(words, 120, break_long_words=False, break_on_hyphens=False) + "\n"
    versions = {name: number for record in records for name, number in record["versions"].items()}
    yield "Versions: " + ", ".join(f"{name} {number}" for name, number in sorted(versions.items())) + ".\n"


def _goals(records: Sequence[Record]) -> Iterator[Row]:
    for goal in GOALS:
        words = {None: "not measured", True: "met", False: "not met"}[goal.met(records)]
        yield goal.what, f"at most {goal.most:g} {goal.unit}".strip(), _said(goal.read(records)), words


def _races(records: Sequence[Record], latencies: str, factor: float, at_once: int) -> Iterator[str]:
    alike = [each for each in records if each.get("factor") == factor and each.get("at_once") == at_once]
    named = f"real latencies divided by {factor:g}" if latencies == "real" else f"{latencies} latencies"
    for rows in _sizes(alike, "race"):
        window = f"{at_once} at once" if at_once else "window open"
        yield f"### {rows:,} rows, {named}, {window}\n"
        found = (newest(alike, kind="race", rows=rows, name=name) for name in CONTENDERS)
        yield from _table(("contender", *_RACE, "measured"), (_race(each) for each in found if each))


def _race(record: Record) -> Row:
    if record.get("finished"):
        cells = [", ".join(_said(figure(record, name)) for name in names) for names in _RACE.values()]
    else:
        why = "did not start" if record.get("failed") else f"not within {record['limit_s']:g} s"
        cells = [f"{why} ({record.get('done', 0)} done)", *[""] * (len(_RACE) - 1)]
    return CONTENDERS[record["name"]].title, *cells, _measured(record)


def _kills(records: Sequence[Record], rows: int) -> Iterator[Row]:
    for name, contender in CONTENDERS.items():
        record = newest(records, kind="kill", rows=rows, name=name)
        if record and record.get("killed"):
            cells = {head: _said(figure(record, which)) for head, which in _KILL.items()}
            if never := record["never_went_on"]:
                cells["all go on after, s"] = f"{never} never"
            yield contender.title, *cells.values(), ", then ".join(record["human"]), _measured(record)


def _probes(records: Sequence[Record]) -> Iterator[Row]:
    probes = {each["name"]: each for each in records if each["kind"] == "probe"}
    for name, record in probes.items():
        for what, value in record["figures"].items():
            yield name, what, _said(value), _measured(record)


def _lines(records: Sequence[Record], latencies: str, which: str) -> dict[str, list[tuple[float, float]]]:
    alike = [each for each in records if each.get("latencies") == latencies and each.get("at_once") == 0]
    found = {}
    for name, contender in CONTENDERS.items():
        newest_of = (newest(alike, kind="race", rows=rows, name=name) for rows in _sizes(alike, "race"))
        points = ((each["rows"], figure(each, which)) for each in newest_of if each and each.get("finished"))
        found[contender.title] = [(float(rows), value) for rows, value in points if value is not None]
    return found


def _sizes(records: Sequence[Record], kind: str) -> list[int]:
    return sorted({each["rows"] for each in records if each["kind"] == kind})


def _values(records: Sequence[Record], name: str) -> list[Any]:
    return sorted({each[name] for each in records if name in each})


def _table(head: Row, rows: Any) -> Iterator[str]:
    yield "| " + " | ".join(map(str, head)) + " |"
    yield "| " + " | ".join("---" for _ in head) + " |"
    for row in rows:
        yield "| " + " | ".join(map(str, row)) + " |"
    yield ""


def _measured(record: Record) -> str:
    """When, of which commit, and on whose processor."""
    model = " ".join(_NO_MODEL.sub(" ", record["machine"]["processor"]).split())
    return f"{record['date'][:10]}, {record['commit']}, {model}"


def _said(value: float | None) -> str:
    """Three digits that mean something."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main()
