"""What the bench computes from what it saw, keeps, compares and writes, with figures small enough to reckon by hand."""

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.benchmarks import page, records
from tests.benchmarks.books import Books, percentile, spread
from tests.benchmarks.goals import GOALS, Goal
from tests.benchmarks.grounds import SHORT
from tests.benchmarks.plots import plot
from tests.benchmarks.records import changes, keep, last_like, read

ROW = "row-1.mp4"
MACHINE = {"cores": 2, "processor": "a processor", "memory_gb": 8}


def test_a_spread_has_the_smallest_values_that_so_many_do_not_exceed_and_nothing_has_none() -> None:
    assert spread([float(value) for value in range(100, 0, -1)]) == {"median": 50, "p95": 95, "most": 100, "count": 100}
    assert percentile([7.0], 0.95) == 7
    assert spread([]) is None


@pytest.mark.parametrize(
    ("rows", "window", "times"), [(1, 64, 1), (64, 64, 1), (65, 64, 2), (1000, 64, 16), (1000, 0, 1)]
)
def test_the_ideal_is_one_rows_way_for_each_filling_of_the_window(rows: int, window: int, times: int) -> None:
    assert SHORT.ideal(rows, window) == times * (SHORT.upload + SHORT.edit + SHORT.render)


def _request(endpoint: str, about: str | None, at: float, ended_at: float | None) -> dict[str, Any]:
    return {"endpoint": endpoint, "about": about, "at": at, "ended_at": ended_at}


def _books(**changed: Any) -> Books:
    """One row: each stage half a second, then a tenth, two, three and four tenths of waiting between them."""
    message = {"text": "x", "outcome": "applied", "charge": 45, "at": 1.7, "ended_at": 2.2}
    session = {"at": 1.0, "uploads": [{"filename": ROW, "at": 1.5}], "messages": [message], "charged": 45}
    looks = [{"at": 4.0, "status": "processing"}, {"at": 5.2, "status": "completed"}]
    render = {"id": "r", "session": "s", "at": 3.0, "ended_at": 5.0, "file": "results/a.mp4", "looks": looks}
    ledger = {"sessions": {"s": session}, "renders": [render], "charged": 45}
    requests = [
        _request("session", "s", 0.9, 1.0),
        _request("upload", "s", 1.0, 1.5),
        _request("state", "s", 1.6, 1.65),
        _request("edit", "s", 1.7, 2.2),
        _request("state", "s", 2.4, 2.5),
        _request("state", "s", 2.8, 2.9),
        _request("render", "s", 3.0, 3.05),
        _request("poll", "r", 4.0, 4.0),
        _request("poll", "r", 5.19, 5.25),
        _request("cdn", "results/a.mp4", 5.65, 6.0),
    ]
    return Books({**ledger, **changed}, changed.get("requests", requests))


def test_delays_are_those_between_stages_to_the_look_that_is_told_and_beyond_the_interval() -> None:
    assert _books().stage_delays() == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert _books().noticed() == pytest.approx([0.2])
    assert _books().late_looks(1.0) == pytest.approx([0.0, 0.2])
    assert _books().late_looks(0.5) == pytest.approx([0.5, 0.7])


def test_a_row_that_was_sent_in_two_sessions_was_sent_twice_and_one_that_was_refused_was_not() -> None:
    def session(outcome: str) -> dict[str, Any]:
        return {"at": 1.0, "uploads": [{"filename": ROW, "at": 1.0}], "messages": [{"outcome": outcome, "at": 1.1}]}

    assert _books().sent_twice() == 0
    assert _books(sessions={"a": session("applied"), "b": session("under way")}).sent_twice() == 1
    assert _books(sessions={"a": session("refused"), "b": session("applied")}).sent_twice() == 0


def test_rows_go_on_with_their_first_request_after_the_kill_in_whichever_session() -> None:
    books = _books()
    assert books.going_on(since=2.3) == {ROW: pytest.approx(0.1)}
    # What was over before it has nothing to go on with.
    assert books.going_on(since=6.5) == {}
    # A row that nobody touched again is among them, without a time.
    assert _books(requests=[_request("upload", "s", 1.0, 1.5)]).going_on(since=2.0) == {ROW: None}


def test_a_package_that_is_missing_is_recorded_and_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_commit", lambda: "abc1234")
    versions = records.stamp(["click", "no-such-package"])["versions"]
    assert versions["no-such-package"] == "none"
    assert versions["click"][0].isdigit()


def _record(kind: str, name: str, rows: int, **figures: Any) -> dict[str, Any]:
    stamp = {"commit": "abc1234", "date": "2000-01-01T00:00:00+00:00", "machine": MACHINE, "versions": {"python": "3"}}
    run = {} if kind == "probe" else {"latencies": "short", "factor": 1.0, "at_once": 0, "limit_s": 300}
    return {"kind": kind, "name": name, "rows": rows, **run, **stamp, **figures}


def _race(name: str, rows: int, makespan: float, **figures: Any) -> dict[str, Any]:
    delays = {"median": 0.02, "p95": 0.1, "most": 0.2, "count": 4 * rows}
    seen = {"stage_delay_s": delays, "noticed_s": delays, "look_late_s": delays, "sent_twice": 0}
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
    goal = _goal("rows lost after SIGKILL")
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
    told = {line.split()[0]: line.split()[2:] for line in changes(now, last_like(now, read(kept)))}
    assert told["makespan_s"] == ["+25", "%", "since", "abc1234"]
    assert told["peak_mb.worker"] == ["the", "same", "since", "abc1234"]
    assert all("new" in line for line in changes(now, None))
    # What figures hang on, and nothing that names the place.
    assert records.machine().keys() == MACHINE.keys()


def test_a_plot_is_a_picture_with_a_point_for_each_value_that_a_logarithm_has() -> None:
    lines = {"one & all": [(10.0, 1.5), (100.0, 2.0)], "none": [(10.0, 0.0)]}
    root = ET.fromstring(plot("A title", "rows", "seconds", lines))
    low, high = root.findall("{http://www.w3.org/2000/svg}circle")
    words = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"A title", "rows", "seconds", "one & all", "10", "100", "1"} <= set(words)
    assert "none" not in words
    assert float(low.attrib["cy"]) > float(high.attrib["cy"])


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
    CliRunner().invoke(page.main, ["--results", str(kept), "--page", str(made)], catch_exceptions=False)
    text = made.read_text()
    assert "| one row after the other | not finished within 300 s (7 done) |" in text
    assert "| Prefect, one flow per row | did not start (0 done) |" in text
    assert "| Dramatiq, one pipeline per row | 5 | 0 | 5 | – | 1 | 70 | start the worker again |" in text
    assert "| time of `reelq --help` | at most 150 ms | 99 | met |" in text
    plots = {f"{name}-short.svg" for name in ("makespan", "worker-cpu", "stage-delay", "memory")}
    assert {path.name for path in (tmp_path / "benchmarks").iterdir()} == plots
