"""What the bench computes from what it saw, with books that are small enough to reckon by hand."""

from typing import Any

import pytest

from tests.benchmarks.arithmetic import Spread, change, ideal_seconds, percentile, spread
from tests.benchmarks.books import Books

ROW = "row-1.mp4"


def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, part) for part in (0.5, 0.95, 1)] == [50, 95, 100]
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2
    assert percentile([7.0], 0.95) == 7


def test_a_spread_of_nothing_is_none_and_not_zero() -> None:
    assert spread([]) is None
    assert spread([0.2, 0.1, 0.9]) == Spread(median=0.2, p95=0.9, most=0.9, count=3)


@pytest.mark.parametrize(
    ("rows", "window", "seconds"), [(1, 64, 8), (64, 64, 8), (65, 64, 16), (1000, 64, 128), (1000, 0, 8)]
)
def test_the_ideal_is_one_rows_way_for_each_filling_of_the_window(rows: int, window: int, seconds: float) -> None:
    assert ideal_seconds(rows, 8.0, window) == seconds


def test_a_change_is_told_against_what_was_before_and_not_at_all_where_there_was_nothing() -> None:
    assert change(10.0, 12.5) == "+25 %"
    assert change(10.0, 9.0) == "-10 %"
    assert change(0.0, 9.0) == "from 0"
    assert change(0.0, 0.0) == "the same"
    assert change(None, 9.0) == "new"


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


def test_the_delays_between_stages_are_those_from_an_answers_end_to_the_next_request() -> None:
    assert _books().stage_delays() == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_a_render_is_noticed_by_the_look_that_is_told_so() -> None:
    assert _books().noticed() == pytest.approx([0.2])


def test_a_look_is_late_by_what_it_took_beyond_the_interval() -> None:
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
