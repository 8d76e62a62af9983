"""What the bench keeps and writes: which figure counts for a goal, what is compared with what, and the page."""

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from tests.benchmarks import page, records
from tests.benchmarks.goals import GOALS, Goal
from tests.benchmarks.plots import plot
from tests.benchmarks.records import changes, keep, last_like, read

MACHINE = {"cores": 2, "processor": "a processor", "memory_gb": 8}


def _record(kind: str, name: str, rows: int, **figures: Any) -> dict[str, Any]:
    stamp = {"commit": "abc1234", "date": "2000-01-01T00:00:00+00:00", "machine": MACHINE, "versions": {"python": "3"}}
    run = {} if kind == "probe" else {"latencies": "short", "factor": 1.0, "at_once": 0, "limit_s": 300}
    return {"kind": kind, "name": name, "rows": rows, **run, **stamp, **figures}


def _race(name: str, rows: int, makespan: float, **figures: Any) -> dict[str, Any]:
    spread = {"median": 0.02, "p95": 0.1, "most": 0.2, "count": 4 * rows}
    seen = {"stage_delay_s": spread, "noticed_s": spread, "look_late_s": spread, "sent_twice": 0}
    used = {"cpu_ms_per_row": {"worker": 12.5}, "peak_mb": {"worker": 90.0}}
    ends = {"makespan_s": makespan, "ideal_s": 8.05, "over_ideal": makespan / 8.05, "finished": True, "done": rows}
    return _record("race", name, rows, **{**seen, **used, **ends, **figures})


def _goal(beginning: str) -> Goal:
    return next(goal for goal in GOALS if goal.what.startswith(beginning))


def test_a_goal_is_met_by_the_size_that_it_names_and_by_no_smaller_one() -> None:
    goal = _goal("1,000 open streams")
    small = _record("probe", "open-streams", 10, figures={"worker_mb": 100.0})
    assert goal.met([small]) is None
    assert goal.met([small, _record("probe", "open-streams", 1000, figures={"worker_mb": 299.0})]) is True
    assert goal.met([_record("probe", "open-streams", 1000, figures={"worker_mb": 301.0})]) is False


def test_the_newest_of_a_kind_counts_and_of_several_sizes_the_worst() -> None:
    goal = _goal("rows lost by it")
    kills = [_record("kill", "reelq-1", 10, lost=3), _record("kill", "reelq-1", 10, lost=0)]
    assert goal.met(kills) is True
    assert goal.read([*kills, _record("kill", "reelq-1", 100, lost=2)]) == 2
    # One that never came to an end is no success.
    assert goal.met([*kills, _record("kill", "reelq-1", 1000, killed=False)]) is False


def test_ahead_of_every_durable_contender_is_told_by_the_size_where_it_is_worst() -> None:
    goal = _goal("short latencies")
    races = [_race("reelq-1", 10, 9.0), _race("dramatiq", 10, 10.0), _race("asyncio-bare", 10, 8.1)]
    assert goal.read(races) == 0.9
    assert goal.read([*races, _race("reelq-1", 100, 33.0), _race("procrastinate", 100, 30.0)]) == 1.1


def test_a_line_is_compared_with_the_last_of_its_kind_alone(tmp_path: Path) -> None:
    kept = tmp_path / "deep" / "results.jsonl"
    now = _race("reelq-1", 100, 30.0)
    for one in (_race("reelq-1", 100, 40.0), _race("reelq-1", 100, 24.0), _race("reelq-1", 10, 9.0)):
        keep(one, kept)
    keep({**_race("reelq-1", 100, 1.0), "machine": {**MACHINE, "cores": 64}}, kept)
    before = last_like(now, read(kept))
    assert before is not None
    assert before["makespan_s"] == 24.0
    (told, *_) = changes(now, before)
    assert told.split() == ["makespan_s", "30.000", "+25", "%", "since", "abc1234"]
    assert "new" in next(changes(now, None))


def test_a_machine_is_described_by_what_figures_hang_on() -> None:
    assert records.machine().keys() == {"cores", "processor", "memory_gb"}


def test_a_plot_is_a_picture_with_a_point_for_each_value_that_a_logarithm_has() -> None:
    lines = {"one & all": [(10.0, 1.5), (100.0, 2.0)], "none": [(10.0, 0.0)]}
    root = ET.fromstring(plot("A title", "rows", "seconds", lines))
    circles = root.findall("{http://www.w3.org/2000/svg}circle")
    assert len(circles) == 2
    words = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"A title", "rows", "seconds", "one & all", "10", "100", "1"} <= set(words)
    assert "none" not in words
    assert float(circles[0].attrib["cy"]) > float(circles[1].attrib["cy"])


def test_the_page_shows_each_contender_those_that_did_not_end_too(tmp_path: Path) -> None:
    kept, made = tmp_path / "results.jsonl", tmp_path / "benchmarks.md"
    unfinished = {"finished": False, "done": 7, "makespan_s": None, "over_ideal": None}
    killed = {"killed": True, "under_way": 5, "lost": 0, "sent_twice": 5, "never_went_on": 0, "all_going_on_s": 1.0}
    for one in (
        _race("reelq-1", 100, 30.0),
        _race("serial", 100, 0.0, **unfinished),
        _record("race", "prefect", 100, failed="no server"),
        _record("kill", "dramatiq", 10, human=["start the worker again"], whole_after_s=70.0, **killed),
        _record("probe", "help", 20, figures={"median_ms": 99.0}),
    ):
        keep(one, kept)
    done = CliRunner().invoke(page.main, ["--results", str(kept), "--page", str(made)], catch_exceptions=False)
    text = made.read_text()
    assert done.exit_code == 0
    assert "| one row after another | not within 300 s (7 done) |" in text
    assert "| Prefect, a flow a row | did not start (0 done) |" in text
    assert "| Dramatiq, a pipeline a row | 5 | 0 | 5 | – | 1 | 70 | start the worker again |" in text
    assert "| `reelq --help` | at most 150 ms | 99 | met |" in text
    assert {path.name for path in (tmp_path / "benchmarks").iterdir()} == {
        f"{name}-short.svg" for name in ("makespan", "worker-cpu", "stage-delay", "memory")
    }
