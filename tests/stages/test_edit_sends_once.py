"""An instruction is sent once for each decision to send it; only proof that it did nothing withdraws the decision."""

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from reelq.errors import CreditsExhausted, NotSent, StreamCut, StreamNeverBegan, StreamOverran, StreamSilent
from reelq.job import Stage
from reelq.remote.receipts import State
from reelq.remote.sse import Heard
from reelq.settings import Settings
from tests.stages.rows import row_in
from worker.desk import Desk, Sending
from worker.stages.edit import Edited, edit

DECISION = Sending(1, "Trim it", None, "")


@dataclass
class _Service:
    """Notes what it was asked, in the desk's own list."""

    done: list[str]
    error: Exception | None = None

    def state(self, _session: str) -> State:
        return State(draft=None)

    def send(self, _session: str, _text: str, *_: Any, **__: Any) -> Heard:
        self.done.append("sent")
        if self.error:
            raise self.error
        return Heard(("Done",))


@dataclass
class _Desk:
    """What the stage asks of its desk here."""

    open: Sending | None = None
    error: Exception | None = None
    done: list[str] = field(default_factory=list)
    settings: Settings = field(default_factory=Settings)

    def __post_init__(self) -> None:
        self.remote = _Service(self.done, self.error)

    def check(self) -> None: ...

    def say(self, _words: str) -> None: ...

    def read_balance(self, _moment: str) -> int:
        return 100

    def sending(self) -> Sending | None:
        return self.open

    def intend(self, _baseline: object) -> Sending:
        self.done.append("decided")
        return DECISION

    def withdraw(self, _sending: Sending, _refusal: Exception) -> None:
        self.done.append("withdrawn")


def run(desk: _Desk) -> Edited:
    return edit(row_in(Stage.EDIT), cast("Desk", desk))


def test_the_decision_is_written_down_before_anything_goes_out() -> None:
    desk = _Desk()
    assert run(desk) == Edited(Heard(("Done",)))
    assert desk.done == ["decided", "sent"]


def test_an_open_decision_is_left_to_be_settled_and_nothing_goes_out() -> None:
    desk = _Desk(open=DECISION)
    assert run(desk) == Edited(None)
    assert desk.done == []


@pytest.mark.parametrize("lost", [StreamCut, StreamNeverBegan, StreamOverran, StreamSilent])
def test_the_decision_behind_a_lost_stream_stays_open(lost: type[Exception]) -> None:
    desk = _Desk(error=lost())
    assert run(desk) == Edited(None)
    assert desk.done == ["decided", "sent"]


@pytest.mark.parametrize("refusal", [NotSent, CreditsExhausted])
def test_a_refusal_withdraws_the_decision(refusal: type[Exception]) -> None:
    desk = _Desk(error=refusal())
    with pytest.raises(refusal):
        run(desk)
    assert desk.done == ["decided", "sent", "withdrawn"]
