"""Events as they come to light: whoever reads on from any mark is told everything, and nothing twice."""

import random
from contextlib import ExitStack

import pytest

from reelq.job import Stage, Status
from reelq.store.db.engine import Store
from reelq.store.jobs.transitions import Position, write_progress
from reelq.store.queries.events import START, Cursor, events_after, newest_event
from tests.databases import add_batch, add_job, moment, on_postgres


class Teller:
    """A transaction that tells events of a row, and stays open until it is committed or given up."""

    def __init__(self, store: Store, at: Position) -> None:
        self._stack = ExitStack()
        self._session = self._stack.enter_context(store.write())
        self._at, self._now = at, store.now(self._session)

    def say(self, words: str) -> "Teller":
        write_progress(self._session, self._at, self._now, "progress", words)
        return self

    def commit(self) -> None:
        self._stack.close()

    def give_up(self) -> None:
        self._session.rollback()
        self._stack.close()


def new_row(store: Store) -> Position:
    """A row in a batch of its own."""
    with moment(store) as (session, now):
        batch = add_batch(session, now)
        return Position(add_job(session, now, batch_id=batch), batch, 1, Stage.UPLOAD, Status.QUEUED)


def read(store: Store, at: Position, mark: Cursor, most: int = 1000) -> tuple[list[str], Cursor]:
    """All that is new, in pieces of so many, through a mark that was written down after each event."""
    words: list[str] = []
    while True:
        with store.read() as session:
            news = events_after(session, at.batch_id, mark, most)
        for told, behind in zip(news.events, news.marks, strict=True):
            words.append(told.words)
            mark = _handed_out(behind)
        if not news.more:
            return words, mark


def _handed_out(mark: Cursor) -> Cursor:
    back = Cursor.parse(str(mark))
    assert back is not None
    return back


def test_whoever_begins_now_is_told_what_was_under_way_and_nothing_older(store: Store) -> None:
    at = new_row(store)
    Teller(store, at).say("long ago").commit()
    under_way = None if store.is_sqlite else Teller(store, at).say("under way")
    with store.read() as session:
        mark = _handed_out(newest_event(session, at.batch_id))
    if under_way:
        under_way.commit()
    Teller(store, at).say("from now on").commit()
    assert read(store, at, mark)[0] == [*(["under way"] if under_way else []), "from now on"]


@on_postgres
def test_however_transactions_overlap_each_event_is_told_once(store: Store) -> None:
    told = sum(_overlap(store, new_row(store), random.Random(seed)) for seed in range(5))
    assert told > 60


def _overlap(store: Store, at: Position, chance: random.Random) -> int:
    """Transactions that begin, tell, end and are given up by chance, and a reader now and then; how many were told."""
    number, mark = 0, START
    open_ones: list[tuple[Teller, list[str]]] = []
    committed: list[str] = []
    told: list[str] = []
    for what in chance.choices(["begin", "say", "commit", "give up", "read"], [4, 8, 3, 1, 3], k=80):
        if what == "begin" and len(open_ones) < 6:
            open_ones.append((Teller(store, at), []))
        elif what == "read":
            new, mark = read(store, at, mark, chance.choice([1, 2, 3, 1000]))
            told += new
            assert sorted(told) == sorted(committed)
        elif open_ones and what == "say":
            number += 1
            teller, words = chance.choice(open_ones)
            teller.say(f"event {number}")
            words.append(f"event {number}")
        elif open_ones and what != "begin":
            teller, words = open_ones.pop(chance.randrange(len(open_ones)))
            teller.commit() if what == "commit" else teller.give_up()
            committed += words if what == "commit" else []
    for teller, words in open_ones:
        teller.commit()
        committed += words
    told += read(store, at, mark, 2)[0]
    assert sorted(told) == sorted(committed)
    return len(told)


def test_a_mark_that_would_not_fit_into_a_header_goes_back_rather_than_miss_anything() -> None:
    many = Cursor(1000, 5, dict.fromkeys(range(500, 900), 0))
    assert Cursor.parse(str(many)) == Cursor(499, 2**63 - 1)


@pytest.mark.parametrize("wrong", ["", "1", "1-", "-1-2", "1-2.", "1-2.3", "x", "1-2;3-4", "9" * 30 + "-1", "١-٢"])
def test_a_word_that_is_no_mark_is_none(wrong: str) -> None:
    assert Cursor.parse(wrong) is None
