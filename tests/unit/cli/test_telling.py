"""What a command tells: words for a terminal, what became of several questions at once, and why a run stands still."""

import re
import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

from reelq.cli.estimate import TimedOut, call_in_parallel
from reelq.cli.local_run import OutageReport
from reelq.cli.views.text import aligned, format_duration, plural, rough_duration, row_list, safe_line, safe_lines


def test_nothing_that_a_terminal_obeys_comes_through() -> None:
    for evil in "\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "\x7f", "\u202etxt", "\u2066", "\x08", "\u200b", "\ufeff":
        shown = safe_line(f"before {evil} after")
        assert shown.isprintable()
        assert re.fullmatch(r"before \\.+ after", shown)


def test_several_lines_become_one_or_stay_lines_and_chinese_and_accents_are_as_they_were() -> None:
    assert safe_line(" two\r\nlines\tand a tab ") == "two lines and a tab"
    assert safe_lines("one\n\n two \x1b\n") == ["one", "two \\x1b"]
    assert safe_line("海滩 · Zoë «ok» [red]") == "海滩 · Zoë «ok» [red]"


@pytest.mark.parametrize(
    ("rows", "count", "said"),
    [
        ([3], 1, "row 3"),
        ([3, 7, 8, 9, 12], 5, "rows 3, 7-9, 12"),
        (range(1, 201), 100_000, "rows 1-200 and 99,800 more"),
        (range(1, 41, 2), 20, "rows 1, 3, 5, 7, 9, 11, 13, 15 and 12 more"),
    ],
)
def test_rows_are_listed_in_ranges_and_many_are_counted(rows: list[int], count: int, said: str) -> None:
    assert row_list(rows, count) == said


def test_spans_and_guesses_of_time() -> None:
    assert [format_duration(seconds) for seconds in (0, 7.9, 750, 11_100, -1)] == [
        "0:00",
        "0:07",
        "12:30",
        "3:05:00",
        "0:00",
    ]
    assert [rough_duration(seconds) for seconds in (20, 720, 10_800)] == ["under a minute", "about 12 min", "about 3 h"]


def test_columns_are_as_wide_as_a_terminal_shows_them() -> None:
    assert aligned([("海滩", "1"), ("beach", "10")], right=(1,), indent="") == ["海滩    1", "beach  10"]
    assert plural(1, "row") == "1 row"
    assert plural(2000, "row") == "2,000 rows"


def test_a_question_without_end_costs_no_more_than_the_time_that_all_have() -> None:
    never = threading.Event()
    try:
        first, second, third = call_in_parallel([lambda: 1, lambda: int(never.wait()), lambda: int("x")], 0.05)
    finally:
        never.set()
    assert first == 1
    assert isinstance(second, TimedOut)
    assert isinstance(third, ValueError)


def test_an_ailment_of_the_store_is_told_once_and_so_is_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    words = iter(["", "disk is full", "disk is full", "", ""])
    ailment = OutageReport(cast("Any", SimpleNamespace(outage=lambda _: next(words))))
    told = []
    for _ in range(5):
        ailment()
        told.append(capsys.readouterr().err)
    assert [bool(each) for each in told] == [False, True, False, True, False]
    assert "disk is full" in told[1]
    assert "again" in told[3]
