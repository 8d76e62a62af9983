"""The figures to reach on a machine with two cores, each with where in the records it stands."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from tests.benchmarks.contenders import CONTENDERS
from tests.benchmarks.records import Record, figure, fits, newest

Records = Sequence[Record]
Read = Callable[[Records], float | None]


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure, what it may be at most, and how it is read; None while nobody measured it."""

    what: str
    most: float
    unit: str
    read: Read

    def met(self, records: Records) -> bool | None:
        """None while there is no figure."""
        value = self.read(records)
        return None if value is None else value <= self.most


def of(which: str, records: Records, /, **wanted: Any) -> float | None:
    """One figure of the newest record of a kind."""
    return figure(newest(records, **wanted) or {}, which)


def worst(which: str, records: Records, /, **wanted: Any) -> float | None:
    """The largest of a figure over the newest records of every size; None counts for one that was never reached."""
    sizes = sorted({each["rows"] for each in records if fits(each, wanted)})
    found = [of(which, records, rows=rows, **wanted) for rows in sizes]
    if not found:
        return None
    return max(float("inf") if each is None else each for each in found)


_SHORT: Final[dict[str, Any]] = {"kind": "race", "name": "reelq-1", "latencies": "short", "at_once": 0}
_KILL: Final[dict[str, Any]] = {"kind": "kill", "name": "reelq-1"}


def _beside_bare(records: Records) -> float | None:
    """The makespan of one worker in times of asyncio's, both with an open window."""
    alike = _SHORT | {"latencies": "real", "rows": 1000}
    if last := newest(records, **alike):
        alike["factor"] = last["factor"]
    ours, bare = (of("makespan_s", records, **alike | {"name": name}) for name in ("reelq-1", "asyncio-bare"))
    return ours / bare if ours and bare else None


def _beside_durable(records: Records) -> float | None:
    """The makespan of one worker in times of the best durable contender's, where it is worst over all sizes."""
    rivals = [one.name for one in CONTENDERS.values() if one.durable and not one.name.startswith("reelq")]
    ratios = []
    for rows in {each["rows"] for each in records if fits(each, _SHORT)}:
        alike = _SHORT | {"rows": rows}
        ours = of("makespan_s", records, **alike)
        others = [took for name in rivals if (took := of("makespan_s", records, **alike | {"name": name}))]
        ratios += [ours / min(others)] if ours and others else []
    return max(ratios, default=None)


def _beyond_the_service(records: Records) -> float | None:
    took, ideal = (of(which, records, **_SHORT, rows=1) for which in ("makespan_s", "ideal_s"))
    return took - ideal if took and ideal else None


def _race(rows: int, what: str) -> Read:
    return partial(of, what, **_SHORT, rows=rows)


def _probe(name: str, size: int, what: str) -> Read:
    """Of the size that the goal names, and no other."""
    return partial(of, f"figures.{what}", kind="probe", name=name, rows=size)


_submission: Final = partial(_probe, "manifest-100000", 100_000)

GOALS: Final = (
    Goal("real latencies, 1,000 rows at once: makespan compared with bare asyncio", 1.10, "×", _beside_bare),
    Goal(
        "short latencies, all rows at once: makespan compared with the best durable contender, worst size",
        1.0,
        "×",
        _beside_durable,
    ),
    Goal("processor time of the worker per row, 1,000 rows", 40, "ms", _race(1000, "cpu_ms_per_row.worker")),
    Goal("delay between stages, median, 100 rows", 0.05, "s", _race(100, "stage_delay_s.median")),
    Goal("delay between stages, median, 1,000 rows", 1, "s", _race(1000, "stage_delay_s.median")),
    Goal("1,000 open streams in one worker: memory", 300, "MB", _probe("open-streams", 1000, "worker_mb")),
    Goal(
        "5,000 rows waiting for renders: share of a core that the worker uses",
        1,
        "%",
        _probe("waiting", 5000, "worker_percent"),
    ),
    Goal("latest poll of a render, worst size", 2, "s", partial(worst, "look_late_s.most", **_SHORT)),
    Goal("time to check a manifest of 100,000 rows", 10, "s", _submission("check_s")),
    Goal("additional time to submit it", 20, "s", _submission("submit_more_s")),
    Goal("peak memory of the submission", 300, "MB", _submission("peak_mb")),
    Goal("time until its first row starts", 2, "s", _submission("first_row_s")),
    Goal(
        "time from SIGKILL until all rows are claimed again, worst size (the lease is 20 s)",
        30,
        "s",
        partial(worst, "claimed_again_s", **_KILL),
    ),
    Goal("rows lost after SIGKILL, worst size", 0, "", partial(worst, "lost", **_KILL)),
    Goal("instructions sent twice after SIGKILL, worst size", 0, "", partial(worst, "sent_twice", **_KILL)),
    Goal("a single row: time in addition to the service's own", 1, "s", _beyond_the_service),
    Goal("time of `reelq --help`", 150, "ms", _probe("help", 20, "median_ms")),
)
