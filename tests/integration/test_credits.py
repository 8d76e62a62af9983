"""Readings are facts in order, and what is derived from them adds up to what the account lost, to the credit."""

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from reelq.errors import RemoteError, ServerTrouble
from reelq.nemo.client import Remote
from reelq.nemo.transport import open_http
from reelq.nemo.types import Balance
from reelq.settings import Settings
from reelq.store.billing import ledger, spending
from reelq.store.db.engine import Store
from reelq.store.db.models import Account, CreditReading, Outcome, Send
from reelq.store.jobs.sends import record_end, settle
from tests.databases import add_account, add_batch, add_job, add_send, change, done, found, on_sqlite, selected
from tests.integration.desks import together
from tests.sandbox_process import ATTRIBUTION, Caller, SandboxProcess
from tests.tokens import FixedToken

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SERVICE = "https://service.example"


class Books:
    """One account's sends and readings in a store, in one batch, and what the service would say that it has left."""

    def __init__(self, store: Store, limit: int | None = None) -> None:
        self.store = store
        self.balance = Balance(1000)
        with store.write() as session:
            account = {"service_url": SERVICE, "credential": os.urandom(8).hex(), "token": b"locked"}
            self.account = add_account(session, NOW, **account)
            self.batch = add_batch(session, NOW, limit_credits=limit)
        self._rows = 0
        self.bearing: list[int] = []

    def open_send(self, session: Any = None) -> int:
        if session is None:
            return done(self.store, self.open_send)
        self._rows += 1
        job = add_job(session, NOW, batch_id=self.batch, account_id=self.account, row=self._rows)
        return add_send(session, NOW, job, self.account)

    def close(self, send: int) -> None:
        done(self.store, ledger.stop_charging, [send])

    def do(self, steps: str) -> None:
        """One after the other; what is lost may be a top-up."""
        for step in filter(None, steps.split(", ")):
            word, _, said = step.partition(" ")
            number, frozen = int(said or 0), self.balance.frozen
            match word:
                case "open":
                    self.bearing.append(self.open_send())
                case "close":
                    self.close(self.bearing.pop(number % len(self.bearing)) if self.bearing else 0)
                case "unconfirm":
                    change(self.store, Send, self.bearing[-1], outcome=Outcome.UNCONFIRMED)
                case "read":
                    self.read()
                case _:
                    taken = {"lose": (number, 0), "freeze": (abs(number), abs(number)), "charge": (0, -frozen)}
                    less, more = (taken | {"release": (-frozen, -frozen)})[word]
                    self.balance = Balance(self.balance.available - less, frozen + more)

    def read(self) -> Any:
        return ledger.take_reading(self.store, self.account, "asked", lambda: self.balance)

    def sends(self) -> list[tuple[int, bool]]:
        with self.store.read() as session:
            query = select(Send.cost, Send.shared).where(Send.account_id == self.account).order_by(Send.id)
            return [(cost, shared) for cost, shared in session.execute(query)]

    def readings(self) -> list[CreditReading]:
        query = select(CreditReading).where(CreditReading.account_id == self.account).order_by(CreditReading.id)
        return selected(self.store, query)


@pytest.fixture
def books(store: Store) -> Books:
    return Books(store)


COSTS = {
    "the first reading charges nobody": ("open, lose 9, read", [(0, False)]),
    "what is set aside costs nothing": ("read, open, freeze 50, read", [(0, False)]),
    "until it is charged": ("read, open, freeze 50, read, charge, read", [(50, False)]),
    "a drop among several is shared and marked so": (
        "read, open, open, open, lose 100, read",
        [(34, True), (33, True), (33, True)],
    ),
    "what bears no more is charged no more": (
        "read, open, lose 50, read, close, open, lose 70, read",
        [(50, False), (70, False)],
    ),
    "what nobody saw end still bears": ("read, open, unconfirm, lose 50, read", [(50, False)]),
}


@pytest.mark.parametrize(("steps", "costs"), COSTS.values(), ids=COSTS)
def test_a_send_costs_what_was_lost_while_it_bore(books: Books, steps: str, costs: list[tuple[int, bool]]) -> None:
    other = Books(books.store)
    other.do("read, open")
    books.do(steps)
    other.read()
    assert (books.sends(), other.sends()) == (costs, [(0, False)])


def test_a_drop_that_nobody_bears_is_unattributed_and_a_rise_is_a_top_up(books: Books) -> None:
    books.read()
    books.do("lose 30")
    books.read()
    assert books.readings()[-1].unattributed == 30
    books.open_send()
    books.do("lose -500")
    books.read()
    assert books.readings()[-1].top_up == 500
    assert books.sends() == [(0, False)]


steps = st.lists(
    st.tuples(st.sampled_from(["open", "close", "lose", "freeze", "release", "read"]), st.integers(-200, 200)),
    max_size=25,
)


@on_sqlite
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_costs_and_what_nobody_bore_less_top_ups_are_what_was_lost(store: Store, steps: list[tuple[str, int]]) -> None:
    books = Books(store)
    first = books.read()
    books.do(", ".join(f"{step} {number}" for step, number in steps))
    last = books.read()
    costs = [cost for cost, _ in books.sends()]
    readings = books.readings()
    lost = first.available + first.frozen - last.available - last.frozen
    assert sum(costs) + sum(each.unattributed - each.top_up for each in readings) == lost
    assert min(costs, default=0) >= 0
    assert all(each.unattributed >= 0 <= each.top_up for each in readings)
    with store.read() as session:
        assert ledger.spent(session, books.batch) == sum(costs)
        assert spending.over(session, books.account).spent == sum(costs)


@pytest.fixture
def remote(sandbox: SandboxProcess, caller: Caller) -> Iterator[Remote]:
    with open_http(Settings(nemo_api_url=sandbox.url)) as http:
        token = str(caller.http.headers["Authorization"]).removeprefix("Bearer ")
        yield Remote(http, FixedToken(token), ATTRIBUTION)


@on_sqlite
@pytest.mark.parametrize("away", [False, True])
def test_sixty_four_sends_that_end_together_cost_one_or_two_requests_however_those_end(
    books: Books, sandbox: SandboxProcess, remote: Remote, away: bool
) -> None:
    sandbox.faults(unavailable={"on": ["balance"]} if away else None, slow_answer={"seconds": 1, "on": ["balance"]})
    got = together(64, lambda: ledger.take_reading(books.store, books.account, "after", remote.balance), RemoteError)
    assert {type(each) for each in got} == {ServerTrouble if away else Balance}
    requests = sandbox.ledger()["requests"]["balance"]
    assert 1 <= requests <= 2
    assert [each.available for each in books.readings()] == ([] if away else [100] * requests)
    assert found(books.store, Account, books.account).reading_until is None


@on_sqlite
def test_whoever_is_content_with_a_fresh_reading_is_served_by_the_last_if_that_went_well(books: Books) -> None:
    began: list[float] = []

    def read() -> Balance:
        began.append(time.monotonic())
        if len(began) == 2:
            raise ServerTrouble
        return Balance(1000 - len(began))

    def ask(fresh: float) -> Any:
        return ledger.take_reading(books.store, books.account, "before", read, fresh)

    first = ask(3600)
    assert ask(3600) == first
    assert len(began) == 1
    with pytest.raises(ServerTrouble):
        ask(0)
    assert ask(3600) != first  # not by the one that failed
    last = ask(3600)
    while time.monotonic() - began[-1] < 0.1:
        time.sleep(0.01)
    assert ask(0.1) != last
    assert len(began) == 4


@on_sqlite
def test_whoever_asks_while_a_reading_is_under_way_gets_the_next_one(books: Books) -> None:
    begun, asked = threading.Event(), threading.Event()

    def slow() -> Balance:
        begun.set()
        asked.wait()
        time.sleep(0.2)  # the other is at the door by then
        return Balance(1000)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ledger.take_reading, books.store, books.account, "asked", slow)
        begun.wait()
        second = pool.submit(ledger.take_reading, books.store, books.account, "asked", lambda: Balance(900))
        asked.set()
        assert (first.result().available, second.result().available) == (1000, 900)


def _elsewhere(store: Store) -> Store:
    """The database as another process has it, which takes no turns with the threads of this one."""
    return Store(store.url.update_query_dict({"process": "another"}), engine=store.engine)


def test_readings_of_two_processes_at_once_never_overlap_and_stay_in_order(books: Books) -> None:
    book: list[str] = []

    def read() -> Balance:
        book.append("begin")
        left = 10_000 - len(book)
        time.sleep(0.01)
        book.append("end")
        return Balance(left)

    def read_on(store: Store) -> None:
        for _ in range(8):
            ledger.take_reading(store, books.account, "asked", read)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(read_on, (books.store, _elsewhere(books.store))))
    assert book == ["begin", "end"] * 16
    kept = [each.available for each in books.readings()]
    assert kept == sorted(kept, reverse=True)
    assert len(set(kept)) == 16
    assert sum(each.unattributed for each in books.readings()) == kept[0] - kept[-1]
    assert sum(each.top_up for each in books.readings()) == 0


def test_a_reader_that_was_overtaken_discards_what_it_read_and_reads_again(books: Books) -> None:
    books.read()
    books.open_send()
    times: list[int] = []

    def late() -> Balance:
        times.append(1)
        if len(times) == 1:
            change(books.store, Account, books.account, reading_until=NOW)  # more time has passed than a claim lasts
            ledger.take_reading(_elsewhere(books.store), books.account, "asked", lambda: Balance(996))
            return Balance(1000)
        return Balance(990)

    assert ledger.take_reading(books.store, books.account, "after", late).available == 990
    assert [each.available for each in books.readings()] == [1000, 996, 990]
    assert books.sends() == [(10, False)]
    assert len(times) == 2


def test_after_a_killed_reader_another_reads_when_its_claim_has_lapsed(books: Books) -> None:
    until = datetime.now(UTC) + timedelta(seconds=1)
    change(books.store, Account, books.account, reading_until=until)  # all that one leaves behind who is killed
    assert books.read().available == 1000
    assert datetime.now(UTC) >= until
    assert len(books.readings()) == 1


RESERVES = {
    "nothing is known": ("", ledger.USUAL_COST),
    "one of unknown cost is open": ("open", ledger.GENERATION_COST + ledger.USUAL_COST),
    "one is known to cost 70": ("read, open, lose 70, read", 70),
    "another has paid 20 so far": ("read, open, lose 70, read, close, open, lose 20, read", 70 - 20 + 70),
    "and has ended": ("read, open, lose 70, read, close, open, lose 20, read, close", 70),
    # One of five has ended, and each bears a fifth of it: that is not what it costs.
    "a drop was shared": (
        "read, open, open, open, open, open, lose 45, read",
        5 * (ledger.GENERATION_COST - 9) + ledger.USUAL_COST,
    ),
}


@pytest.mark.parametrize(("steps", "reserved"), RESERVES.values(), ids=RESERVES)
def test_the_highest_cost_less_what_is_paid_is_reserved_for_each(books: Books, steps: str, reserved: int) -> None:
    books.do(steps)
    with books.store.read() as session:
        assert ledger.reserve_needed(session, books.batch, books.account) == reserved
        if not steps:
            generation = ledger.reserve_needed(session, books.batch, books.account, generates=True)
            assert generation == ledger.GENERATION_COST


@pytest.mark.parametrize(("limit", "room"), [(None, True), (140, True), (139, False), (0, False)])
def test_a_limit_leaves_room_while_what_a_send_may_cost_is_left(store: Store, limit: int | None, room: bool) -> None:
    books = Books(store, limit=limit)
    books.do("read, open, lose 70, read, close")
    assert done(store, ledger.limit_allows, books.batch, books.account) is room


def test_workers_that_ask_at_once_stay_within_the_limit_together(store: Store) -> None:
    books = Books(store, limit=250)

    def send() -> bool:
        with store.write() as session:
            if allowed := ledger.limit_allows(session, books.batch, books.account, generates=True):
                books.open_send(session)
            return allowed

    assert sum(together(8, send)) == 2


def _settled(books: Books, send: int, outcome: Outcome) -> None:
    with books.store.write() as session:
        job_id = session.get_one(Send, send).job_id
        assert settle(session, job_id, outcome, NOW)


def _ended(books: Books, outlived: datetime = NOW) -> list[int]:
    with books.store.read() as session:
        assert ledger.ended_sends(session, "https://another.example", outlived) == {}
        return sorted(ledger.ended_sends(session, SERVICE, outlived).get(books.account, []))


def test_a_reading_is_due_for_sends_that_have_ended_and_may_have_cost_something(books: Books) -> None:
    under_way, cancelled, heard, applied, refused, not_sent, closed = (books.open_send() for _ in range(7))
    with books.store.write() as session:
        record_end(session, session.get_one(Send, heard).job_id, "done", "")
    _settled(books, applied, Outcome.APPLIED)
    _settled(books, refused, Outcome.REFUSED)
    _settled(books, not_sent, Outcome.NOT_SENT)
    for send in (cancelled, closed):
        _settled(books, send, Outcome.UNCONFIRMED)
    books.close(closed)
    assert _ended(books) == [heard, applied]
    # Those that nobody saw end bear costs until no stream would be under way any more.
    assert _ended(books, NOW + timedelta(seconds=1)) == [under_way, cancelled, heard, applied]
    for send, bears in ((under_way, True), (heard, True), (closed, False)):
        with books.store.read() as session:
            assert list(ledger.cost_bearing_sends(session, session.get_one(Send, send).job_id)) == [send] * bears
    change(books.store, Account, books.account, token=None)
    assert _ended(books) == []  # no token is asked for to learn it


def test_a_reading_that_can_not_be_taken_is_not_waited_for_for_ever(books: Books) -> None:
    late, under_way = books.open_send(), books.open_send()
    _settled(books, late, Outcome.APPLIED)
    for before, left in ((NOW, [late]), (NOW + timedelta(seconds=1), [])):
        done(books.store, ledger.give_up_charging, before)
        assert _ended(books) == left
    books.do("read, lose 7, read")
    assert books.sends() == [(0, False), (7, False)]
    assert under_way > late
