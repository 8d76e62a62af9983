"""A row that ends with its verification: what its instruction cost is found out before."""

from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from reelq.errors import AgentFailed, EditUnconfirmed, NoEffect
from reelq.job import Route, Stage
from reelq.remote import draft
from reelq.remote.receipts import Session, State
from reelq.settings import Settings
from worker.desk import Desk, Job, NotYet, Sending
from worker.stages.verify import verify

JOB = Job("job_1", 1, 1, Stage.VERIFY, Route.EDIT, "Trim it", "en", (), (), None, session=Session("ses", "task", "me"))
UNCHANGED = Sending(1, "Trim it", None, draft.fingerprint(None), reads=9)


class _Service:
    def state(self, _session: str) -> State:
        return State(draft=None)


@dataclass
class _Desk:
    """What the stage asks of its desk here."""

    found: Sending
    closed: bool = False
    remote: _Service = field(default_factory=_Service)
    settings: Settings = field(default_factory=Settings)

    def sending(self) -> Sending:
        return self.found

    def read_again(self, sending: Sending, _fingerprint: str) -> int:
        return sending.reads + 1

    def close_costs(self) -> None:
        self.closed = True


def look(sending: Sending) -> tuple[_Desk, Any]:
    """What became of it, as a value."""
    desk = _Desk(sending)
    try:
        return desk, verify(JOB, cast("Desk", desk))
    except (AgentFailed, EditUnconfirmed, NoEffect) as error:
        return desk, error


@pytest.mark.parametrize(
    ("sending", "end"),
    [
        (replace(UNCHANGED, ended_well=True), NoEffect),
        (replace(UNCHANGED, ended_well=True, agent_error="out of film"), AgentFailed),
        (replace(UNCHANGED, seconds_since=10_000), EditUnconfirmed),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_costs_are_read_before_the_row_fails(sending: Sending, end: type[Exception]) -> None:
    desk, outcome = look(sending)
    assert isinstance(outcome, end)
    assert desk.closed


@pytest.mark.parametrize("sending", [replace(UNCHANGED, ended_well=True, reads=0), replace(UNCHANGED, seconds_since=1)])
def test_a_look_that_settles_nothing_reads_no_balance(sending: Sending) -> None:
    desk, outcome = look(sending)
    assert isinstance(outcome, NotYet)
    assert not desk.closed
