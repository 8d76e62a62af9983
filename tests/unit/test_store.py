"""What the store reckons by itself: ids, the clock that all workers share, and what rows may cost and did cost."""

import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelq import skills
from reelq.manifest import checks
from reelq.store.billing.ledger import split
from reelq.store.billing.spending import estimate, estimate_rows
from reelq.store.db import engine
from reelq.store.db.engine import KEPT_SECONDS, QUICK_SECONDS, SKEW, Clock
from reelq.store.db.types import Kind, new_id


def test_an_id_names_its_table_and_fits_its_column() -> None:
    for kind in get_args(Kind):
        assert re.fullmatch(rf"{kind}_\w{{22}}", new_id(kind))
        assert len(new_id(kind)) <= 40


def test_a_later_id_sorts_after_an_earlier_one_also_when_a_digit_of_the_time_turns_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns = [32**power + step for power in range(2, 10) for step in (-1, 0, 1, 2)]
    made = []
    for milliseconds in turns:
        monkeypatch.setattr(time, "time_ns", lambda moment=milliseconds: moment * 1_000_000)
        made.append(new_id("job"))
    assert made == sorted(made)
    assert len({len(each) for each in made}) == 1


def test_ids_of_one_millisecond_differ_and_hold_no_letter_that_can_be_misread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_800_000_000_000_000_000)
    made = {new_id("job") for _ in range(2_000)}
    assert len(made) == 2_000
    assert len({each[:14] for each in made}) == 1
    assert not set("".join(each.removeprefix("job_") for each in made)) & set("ilouABCDEFGHIJKLMNOPQRSTUVWXYZ")


def test_a_send_costs_the_most_that_one_has_cost_yet_or_what_is_usual() -> None:
    for sends, generations, highest, cost in ((8, 0, 0, 400), (8, 3, 0, 550), (8, 3, 70, 560), (0, 0, 70, 0)):
        reckoned = estimate(sends, generations, highest=highest)
        assert (reckoned.sends, reckoned.credits, reckoned.seen) == (sends, cost, highest > 0)


def test_only_rows_that_go_to_the_agent_cost_anything(tmp_path: Path) -> None:
    (tmp_path / "beach.mp4").write_bytes(b"x")
    rows = ["beach.mp4,Cut the pauses", ",Make a clip of a city at night", "beach.mp4,export", ",credits", "beach.mp4,"]
    (tmp_path / "jobs.csv").write_text("\n".join(["file,instruction", *rows]))
    checked = checks.check_file(tmp_path / "jobs.csv", skills=skills.load(), default_skill=checks.DEFAULT_SKILL)
    assert not checked.faults
    reckoned = estimate_rows(checked.rows)
    assert (reckoned.sends, reckoned.credits) == (2, 150)


@given(st.integers(0, 10**9), st.integers(1, 300))
def test_the_parts_of_a_drop_add_up_to_it_and_differ_by_one_credit_at_most_which_the_oldest_bear(
    drop: int, count: int
) -> None:
    parts = split(drop, count)
    assert (sum(parts), len(parts)) == (drop, count)
    assert parts == sorted(parts, reverse=True)
    assert 0 <= parts[0] - parts[-1] <= 1
    assert parts[-1] >= 0


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Database:
    """Answers with its own clock, after a while; both clocks are ours to move."""

    steady = 100.0
    ahead = timedelta(0)
    takes, unevenly = 0.0, 0.5
    asked = 0

    @property
    def moment(self) -> datetime:
        return NOON + timedelta(seconds=self.steady) + self.ahead

    def execute(self, _: object) -> Any:
        self.asked += 1
        self.steady += self.takes * self.unevenly
        answer, self.steady = self.moment, self.steady + self.takes * (1 - self.unevenly)
        return type("Answer", (), {"scalar_one": lambda _: answer})()


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Database:
    made = Database()
    monkeypatch.setattr(engine, "ticks", lambda: made.steady)
    return made


def test_an_answer_is_carried_on_and_asked_for_again_before_it_can_have_gone_wrong(database: Database) -> None:
    mine: Any = Clock()
    mine.now(database)
    for _ in range(9):
        database.steady += KEPT_SECONDS / 10
        assert mine.now(database) == database.moment
    assert database.asked == 1
    database.steady += KEPT_SECONDS / 10
    database.ahead = timedelta(minutes=1)  # somebody has set it
    assert mine.now(database) == database.moment
    assert database.asked == 2


def test_an_answer_that_was_long_on_its_way_is_good_for_once(database: Database) -> None:
    mine: Any = Clock()
    for takes, asked in ((2, 1), (2, 2), (0.9, 3), (0.9, 3)):
        database.takes = takes * QUICK_SECONDS
        mine.now(database)
        assert database.asked == asked


def test_an_answer_that_bears_out_what_was_known_changes_nothing(database: Database) -> None:
    mine: Any = Clock()
    database.takes = 0.8 * QUICK_SECONDS
    database.unevenly = 0.2  # so that what is known is a little behind
    mine.now(database)
    behind = database.moment - mine.now(database)
    assert behind > timedelta(0)
    database.unevenly, database.takes = 0.5, 20 * QUICK_SECONDS
    for asked in (2, 3):
        database.steady += KEPT_SECONDS
        for now in (mine.now(database), mine.now(database)):
            assert database.moment - now == behind
        assert database.asked == asked


def test_two_readers_are_never_further_apart_than_is_allowed_for(database: Database) -> None:
    early: Any = Clock()
    late: Any = Clock()
    database.takes = 0.9 * QUICK_SECONDS
    early.now(database)
    late.now(database)
    apart = abs(early.now(database) - late.now(database))
    assert apart <= timedelta(seconds=QUICK_SECONDS) < SKEW
