"""What became of an edit: when a change counts, when its absence does, and that its costs are known before the end."""

from dataclasses import dataclass, replace
from typing import Any, cast

import pytest

from reelq.errors import AgentFailed, EditUnconfirmed, NoEffect
from reelq.job import Stage
from reelq.remote import draft
from reelq.remote.receipts import State
from reelq.settings import Settings
from tests.stages.rows import row_in
from worker.desk import Desk, NotYet, Sending
from worker.stages.verify import Verified, verify

BEFORE = {"t": [{"tt": 0, "sg": [{"sti": "a.mp4", "d": 3000}]}]}
HALF = {"t": [{"tt": 0, "sg": [{"sti": "a.mp4", "d": 2000}]}]}
WHOLE = {"t": [{"tt": 0, "sg": [{"sti": "a.mp4", "d": 1000}]}]}
LOST = Sending(1, "Trim it", BEFORE, draft.fingerprint(BEFORE))
HEARD = replace(LOST, ended_well=True, reads=9)
LATE = 901.0


@dataclass
class _Desk:
    """What the stage asks of its desk here: the newest decision, as the reads before have left it."""

    sent: Sending
    draft: dict[str, Any]
    settings: Settings
    costs_are_known: bool = False

    @property
    def remote(self) -> "_Desk":
        return self

    def state(self, _session: str) -> State:
        return State(draft=self.draft)

    def sending(self) -> Sending:
        return self.sent

    def read_again(self, sending: Sending, fingerprint: str) -> int:
        self.sent = replace(sending, reads=sending.reads + 1, read_fingerprint=fingerprint)
        return self.sent.reads

    def close_costs(self) -> None:
        self.costs_are_known = True


def desk_with(sent: Sending) -> _Desk:
    return _Desk(sent, BEFORE, Settings(reelq_edit_timeout=900, reelq_settle_reads=6))


def look(desk: _Desk, now: dict[str, Any] = BEFORE) -> object:
    desk.draft = now
    return verify(row_in(Stage.VERIFY), cast("Desk", desk))


def test_a_change_counts_once_two_reads_agree_as_the_first_can_be_half_an_edit() -> None:
    desk = desk_with(LOST)
    assert [type(look(desk, now)) for now in (BEFORE, HALF, WHOLE, WHOLE)] == [NotYet, NotYet, NotYet, Verified]


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(replace(LOST, reads=5, seconds_since=10), id="both short"),
        pytest.param(replace(LOST, reads=50, seconds_since=10), id="too soon"),
        pytest.param(replace(LOST, reads=4, seconds_since=LATE), id="too few reads"),
        pytest.param(replace(HEARD, reads=0), id="its stream ended well a moment ago"),
    ],
)
def test_no_change_says_nothing_while_one_may_come_and_reads_no_balance(sent: Sending) -> None:
    desk = desk_with(sent)
    assert isinstance(look(desk), NotYet)
    assert not desk.costs_are_known


@pytest.mark.parametrize(
    ("sent", "end"),
    [
        (replace(LOST, reads=5, seconds_since=LATE), EditUnconfirmed),
        (HEARD, NoEffect),
        (replace(HEARD, agent_error="out of film"), AgentFailed),
    ],
    ids=["the reads are used up and no stream lives so long", "its stream ended well", "the agent failed"],
)
def test_no_change_counts_in_the_end_and_its_costs_are_read_before_the_row_fails(
    sent: Sending, end: type[Exception]
) -> None:
    desk = desk_with(sent)
    with pytest.raises(end):
        look(desk)
    assert desk.costs_are_known
