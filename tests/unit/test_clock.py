"""The clock that all workers share, as one of them reads it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reelq.store import clock
from reelq.store.clock import KEPT_SECONDS, QUICK_SECONDS, SKEW, Clock

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Database:
    """Answers with its own clock, after a while; both clocks are ours to move."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steady = 100.0
        self.ahead = timedelta(0)
        self.takes = 0.0
        self.unevenly = 0.5
        self.asked = 0
        monkeypatch.setattr(clock, "ticks", lambda: self.steady)

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
    return Database(monkeypatch)


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
    database.takes = 2 * QUICK_SECONDS
    mine: Any = Clock()
    for asked in (1, 2):
        mine.now(database)
        assert database.asked == asked
    database.takes = 0.9 * QUICK_SECONDS
    mine.now(database)
    mine.now(database)
    assert database.asked == 3


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


def test_time_goes_on_while_the_machine_sleeps_where_a_clock_tells() -> None:
    before = clock.ticks()
    assert 0 <= clock.ticks() - before < 1
