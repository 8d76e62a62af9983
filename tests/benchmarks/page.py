"""Generates docs/benchmarks.md from the records: `python -m tests.benchmarks.page`."""

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
    ("worker-cpu", "Processor time of the worker per row", "milliseconds", "cpu_ms_per_row.worker"),
    ("stage-delay", "Delay between stages, median", "seconds", "stage_delay_s.median"),
    ("memory", "Peak memory of the worker", "MB", "peak_mb.worker"),
)
_RACE: Final = {
    "makespan, s": ("makespan_s",),
    "over the ideal": ("over_ideal",),
    "worker, ms per row": ("cpu_ms_per_row.worker",),
    "submission": ("cpu_ms_per_row.handing_in",),
    "server": ("cpu_ms_per_row.server",),
    "broker": ("cpu_ms_per_row.broker",),
    "database": ("cpu_ms_per_row.database",),
    "sandbox": ("cpu_ms_per_row.sandbox",),
    "memory, MB": ("peak_mb.worker",),
    "delay between stages: median, 95 %, max, s": ("stage_delay_s.median", "stage_delay_s.p95", "stage_delay_s.most"),
    "done until noticed: median, max, s": ("noticed_s.median", "noticed_s.most"),
    "latest poll, s": ("look_late_s.most",),
}
"""Columns, each with its figures."""
_KILL: Final = {
    "in progress": "under_way",
    "lost": "lost",
    "sent twice": "sent_twice",
    "claimed again after, s": "claimed_again_s",
    "all continue after, s": "all_going_on_s",
    "all done after, s": "whole_after_s",
}
_NO_MODEL: Final = re.compile(r"\((?:R|TM)\)|\b(?:CPU|Processor)\b|@")
"""The parts of a processor's name that are neither maker nor model."""
_FOR_WHOM: Final = """\
For those who choose a queue, or change this one: how fast reelq is, what it uses, and what happens when its worker is
killed, compared with alternatives.
"""
_HOW_TO_READ: Final = """\
All contenders take the same six steps with the same checks against the sandbox, which runs in a process of its own. The
delays come from the sandbox's record of requests. In the plots and for the goals, all rows run at once, except with
prefork, which has at most 32 processes. Runs with a limit are harder to compare: reelq's limit counts rows between
upload and download, while that of Celery, Dramatiq or Procrastinate counts running tasks, so a row that waits for its
render makes room for another if the library can wait without a worker.

With real latencies, a render takes twice the poll interval. A client whose second poll comes slightly too early notices
30 s later, so these runs depend on luck as well as on speed. The service has no way to poll several renders at once.
`bare_looks_percent` is the processor time of the same number of bare httpx requests, a lower bound for every client
that uses httpx ([other clients](decisions/0013-a-wait-costs-its-looks.md)).

Runs of the same code differ by a tenth, and machines by half: compare only figures of the same day and machine.
"""
_OF_KILLS: Final = """\
If the worker is killed while it sends an instruction, nobody knows whether the instruction arrived. A client that sends
it again may pay twice; "sent twice" counts these. reelq reads the project instead, for as long as a stream can last
(900 s when an edit takes 20 s; here in proportion). If it finds no edit, the row fails as `edit_unconfirmed`, and a
retry sends the instruction again.
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
    yield _FOR_WHOM
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
    yield "## Killed halfway\n"
    yield _OF_KILLS
    for rows in _sizes(records, "kill"):
        yield f"### {_count(rows)} killed halfway\n"
        yield from _table(("contender", *_KILL, "what the user does", "measured"), _kills(records, rows))
    yield "## Other measurements\n"
    yield from _table(("what", "figure", "value", "measured"), _probes(records))


def _provenance(records: Sequence[Record]) -> Iterator[str]:
    if not records:
        yield "Nothing has been measured yet. Run `make bench`.\n"
        return
    last = records[-1]
    machine = last["machine"]
    words = (
        f"`make bench` and `make bench-full` measure these figures. Each is the newest of its kind in "
        f"[results.jsonl](benchmarks/results.jsonl); [its fields](benchmarks/format.md) are documented. The newest "
        f"line is from {last['date'][:10]}, at commit {last['commit']}, on a machine with {machine['cores']} cores "
        f"({machine['processor']}) and {machine['memory_gb']} GB of memory. Other lines are older and can come from "
        f"other machines: the last column of a table shows the date, the commit and the processor."
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
        window = f"{at_once} at once" if at_once else "all at once"
        yield f"### {_count(rows)}, {named}, {window}\n"
        found = (newest(alike, kind="race", rows=rows, name=name) for name in CONTENDERS)
        yield from _table(("contender", *_RACE, "measured"), (_race(each) for each in found if each))


def _race(record: Record) -> Row:
    if record.get("finished"):
        cells = [", ".join(_said(figure(record, name)) for name in names) for names in _RACE.values()]
    else:
        why = "did not start" if record.get("failed") else f"not finished within {record['limit_s']:g} s"
        cells = [f"{why} ({record.get('done', 0)} done)", *[""] * (len(_RACE) - 1)]
    return CONTENDERS[record["name"]].title, *cells, _measured(record)


def _kills(records: Sequence[Record], rows: int) -> Iterator[Row]:
    for name, contender in CONTENDERS.items():
        record = newest(records, kind="kill", rows=rows, name=name)
        if record and record.get("killed"):
            cells = {head: _said(figure(record, which)) for head, which in _KILL.items()}
            if never := record["never_went_on"]:
                cells["all continue after, s"] = f"{never} never"
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


def _count(rows: int) -> str:
    return f"{rows:,} row{'s' if rows != 1 else ''}"


def _values(records: Sequence[Record], name: str) -> list[Any]:
    return sorted({each[name] for each in records if name in each})


def _table(head: Row, rows: Any) -> Iterator[str]:
    yield "| " + " | ".join(map(str, head)) + " |"
    yield "| " + " | ".join("---" for _ in head) + " |"
    for row in rows:
        yield "| " + " | ".join(map(str, row)) + " |"
    yield ""


def _measured(record: Record) -> str:
    """The date, the commit and the processor."""
    model = " ".join(_NO_MODEL.sub(" ", record["machine"]["processor"]).split())
    return f"{record['date'][:10]}, {record['commit']}, {model}"


def _said(value: float | None) -> str:
    """The value with three significant digits."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main()
