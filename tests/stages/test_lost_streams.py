"""What became of a lost stream: a change counts when two reads agree, and no change when nothing can come any more."""

from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from reelq.errors import EditUnconfirmed
from reelq.job import Route, Stage
from reelq.remote import draft
from reelq.remote.receipts import Session, State
from reelq.settings import Settings
from worker.desk import Desk, Job, NotYet, Sending
from worker.stages.verify import Verified, verify

JOB = Job("job_1", 1, 1, Stage.VERIFY, Route.EDIT, "Trim it", "en", (), (), None, session=Session("ses", "task", "me"))
BEFORE = {"t": [{"tt": 0, "sg": [{"sti": "a.mp4", "d": 3000}]}]}
HALF = {"t": [{"tt": 0, "sg": [{"sti": "a.mp4", "d": 2000}]}]}
WHOLE = {"t": [{"tt": 0, "sg": [{"sti": "a.mp4", "d": 1000}]}]}
LOST = Sending(1, "Trim it", BEFORE, draft.fingerprint(BEFORE))
SETTINGS = Settings(reelq_edit_timeout=900, reelq_settle_reads=6)
LATE = 901.0


@dataclass
class _Desk:
    """What the stage asks of its desk here: the newest decision, as the reads before have left it."""

    lost: Sending
    draft: dict[str, Any]
    settings: Settings = SETTINGS
    said: list[str] = field(default_factory=list)

    @property
    def remote(self) -> "_Desk":
        return self

    def state(self, _session: str) -> State:
        return State(draft=self.draft)

    def sending(self) -> Sending:
        return self.lost

    def read_again(self, sending: Sending, fingerprint: str) -> int:
        self.lost = replace(sending, reads=sending.reads + 1, read_fingerprint=fingerprint)
        return self.lost.reads

    def close_costs(self) -> None: ...


def look(desk: _Desk, now: dict[str, Any]) -> object:
    desk.draft = now
    return verify(JOB, cast("Desk", desk))


def test_a_change_counts_once_two_reads_agree_as_the_first_can_be_half_an_edit() -> None:
    desk = _Desk(LOST, BEFORE)
    assert [type(look(desk, now)) for now in (BEFORE, HALF, WHOLE, WHOLE)] == [NotYet, NotYet, NotYet, Verified]


@pytest.mark.parametrize(
    ("reads", "seconds"), [(5, 10.0), (50, 10.0), (4, LATE)], ids=["both short", "too soon", "too few reads"]
)
def test_no_change_says_nothing_while_one_may_come(reads: int, seconds: float) -> None:
    assert isinstance(look(_Desk(replace(LOST, reads=reads, seconds_since=seconds), BEFORE), BEFORE), NotYet)


def test_no_change_counts_when_the_reads_are_used_up_and_no_stream_lives_so_long() -> None:
    with pytest.raises(EditUnconfirmed):
        look(_Desk(replace(LOST, reads=5, seconds_since=LATE), BEFORE), BEFORE)
