"""Single stages against a desk and a service that do as they are told, and note what they were asked."""

from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, cast

import pytest

from reelq.errors import (
    AgentFailed,
    BrokenDownload,
    CreditsExhausted,
    EditUnconfirmed,
    NoEffect,
    NotSent,
    RenderStuck,
    RenderUnknown,
    StreamCut,
    StreamNeverBegan,
    StreamOverran,
    StreamSilent,
)
from reelq.job import ClaimedJob, OpenSend, Route
from reelq.nemo import timeline
from reelq.nemo.stream import AgentReply
from reelq.nemo.transfer import Downloaded
from reelq.nemo.types import State
from reelq.settings import Settings
from reelq.store.jobs.dependents import Result
from worker.context import NotYet, StageContext
from worker.stages.download import download
from worker.stages.edit import Edited, edit
from worker.stages.poll import poll
from worker.stages.verify import Verified, verify

LIMIT: Final = 5
"""Looks at an export."""
BEFORE: Final = {"t": [{"tt": 0, "sg": [{"sti": "a.mp4", "d": 3000}]}]}
HALF: Final = {"t": [{"tt": 0, "sg": [{"sti": "a.mp4", "d": 2000}]}]}
WHOLE: Final = {"t": [{"tt": 0, "sg": [{"sti": "a.mp4", "d": 1000}]}]}
LOST: Final = OpenSend(1, "Trim it", BEFORE, timeline.fingerprint(BEFORE))
HEARD: Final = LOST._replace(ended_well=True, reads=9)
LATE: Final = 901.0
OLDER, NEW, THEIRS = b"an older result", b"half of the new one", b"a finished video"


@dataclass
class FakeDesk:
    """What the stages ask of their desk, and of the service behind it."""

    sent: OpenSend | None = None
    """The decision to send that is open."""
    error: Exception | None = None
    """What the service answers an instruction, or a download, with."""
    draft: dict[str, Any] = field(default_factory=lambda: BEFORE)
    place: Path = Path()
    same: Result | None = None
    storage: Any = None
    done: list[str] = field(default_factory=list)
    settings: Settings = field(
        default_factory=lambda: Settings(reelq_poll_limit=LIMIT, reelq_edit_timeout=900, reelq_settle_reads=6)
    )

    @property
    def remote(self) -> "FakeDesk":
        return self

    def check(self) -> None: ...

    def say(self, _words: str) -> None: ...

    def state(self, _session: str) -> State:
        return State(self.draft)

    def read_balance(self, _moment: str) -> int:
        return 100

    def close_costs(self) -> None:
        self.done.append("costs known")

    def open_send(self) -> OpenSend | None:
        return self.sent

    def intend(self, _baseline: object) -> str:
        self.done.append("decided")
        return LOST.text

    def send(self, _session: str, _text: str, *_: Any, **__: Any) -> AgentReply:
        self.done.append("sent")
        if self.error:
            raise self.error
        return AgentReply(("Done",))

    def withdraw(self, _refusal: Exception) -> None:
        self.done.append("withdrawn")

    def read_again(self, send: OpenSend, fingerprint: str) -> int:
        self.sent = send._replace(reads=send.reads + 1, read_fingerprint=fingerprint)
        return self.sent.reads

    def progress(self, _render_id: str) -> None:
        raise RenderUnknown

    def reserve_render(self) -> str:
        return "second"

    def render(self, render_id: str, *_: Any) -> None:
        self.done.append(f"{render_id} asked for")

    def cancel_render(self, render_id: str) -> None:
        self.done.append(f"{render_id} cancelled")

    def same_result(self) -> Result | None:
        return self.same

    def download(self, _url: str, _render_id: str, part: Path, *_: Any) -> Downloaded:
        assert not part.exists()
        part.write_bytes(NEW[:7])
        assert self.place.read_bytes() == OLDER
        if self.error:
            part.unlink()
            raise self.error
        part.write_bytes(NEW)
        return Downloaded(len(NEW), "a hash")


def a_row(**values: Any) -> ClaimedJob:
    """A row that has a session."""
    row: dict[str, Any] = dict.fromkeys(ClaimedJob._fields, "") | {
        "id": "job_1", "run": 1, "route": Route.EDIT, "same_as": None, "looks": 0, "renders": 0,
        "remote_session_id": "ses",
    }  # fmt: skip
    return ClaimedJob(**row | values)


# An instruction is sent once for each decision to send it; only proof that it did nothing withdraws the decision.


def edited(desk: FakeDesk) -> Edited:
    return edit(a_row(), cast("StageContext", desk))


def test_the_decision_is_written_down_before_anything_goes_out() -> None:
    desk = FakeDesk()
    assert edited(desk) == Edited(AgentReply(("Done",)))
    assert desk.done == ["decided", "sent"]


def test_an_open_decision_is_left_to_be_settled_and_nothing_goes_out() -> None:
    desk = FakeDesk(LOST)
    assert edited(desk) == Edited(None, desk.settings.reelq_settle_first_wait)
    assert desk.done == []


@pytest.mark.parametrize("lost", [StreamCut, StreamNeverBegan, StreamOverran, StreamSilent])
def test_the_decision_behind_a_lost_stream_stays_open(lost: type[Exception]) -> None:
    desk = FakeDesk(error=lost())
    assert edited(desk) == Edited(None, desk.settings.reelq_settle_first_wait)
    assert desk.done == ["decided", "sent"]


@pytest.mark.parametrize("refusal", [NotSent, CreditsExhausted])
def test_a_refusal_withdraws_the_decision(refusal: type[Exception]) -> None:
    desk = FakeDesk(error=refusal())
    with pytest.raises(refusal):
        edited(desk)
    assert desk.done == ["decided", "sent", "withdrawn"]


# What became of an edit: when a change counts, when its absence does, and that its costs are known before the end.


def verified(desk: FakeDesk, now: dict[str, Any] = BEFORE) -> object:
    desk.draft = now
    return verify(a_row(), cast("StageContext", desk))


def test_a_change_counts_once_two_reads_agree_as_the_first_can_be_half_an_edit() -> None:
    desk = FakeDesk(LOST)
    assert [type(verified(desk, now)) for now in (BEFORE, HALF, WHOLE, WHOLE)] == [NotYet, NotYet, NotYet, Verified]


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(LOST._replace(reads=5, seconds_since=10), id="both short"),
        pytest.param(LOST._replace(reads=50, seconds_since=10), id="too soon"),
        pytest.param(LOST._replace(reads=4, seconds_since=LATE), id="too few reads"),
        pytest.param(HEARD._replace(reads=0), id="its stream ended well a moment ago"),
    ],
)
def test_no_change_says_nothing_while_one_may_come_and_reads_no_balance(sent: OpenSend) -> None:
    desk = FakeDesk(sent)
    assert isinstance(verified(desk), NotYet)
    assert desk.done == []


@pytest.mark.parametrize(
    ("sent", "end"),
    [
        (LOST._replace(reads=5, seconds_since=LATE), EditUnconfirmed),
        (HEARD, NoEffect),
        (HEARD._replace(agent_error="out of film"), AgentFailed),
    ],
    ids=["the reads are used up and no stream lives so long", "its stream ended well", "the agent failed"],
)
def test_no_change_counts_in_the_end_and_its_costs_are_read_before_the_row_fails(
    sent: OpenSend, end: type[Exception]
) -> None:
    desk = FakeDesk(sent)
    with pytest.raises(end):
        verified(desk)
    assert desk.done == ["costs known"]


# An export comes to an end, whatever the service says of it: one that it always forgets is not asked for for ever.


def polled(desk: FakeDesk, **values: Any) -> object:
    return poll(a_row(route=Route.EXPORT, **{"remote_render_id": "first", **values}), cast("StageContext", desk))


def test_a_forgotten_export_is_submitted_again_under_its_own_id() -> None:
    done = polled(desk := FakeDesk())
    assert isinstance(done, NotYet)
    assert (desk.done, "forgotten" in done.message, done.new_export) == (["first asked for"], True, False)


def test_an_export_that_is_forgotten_again_and_again_gives_way_to_a_second_one() -> None:
    done = polled(desk := FakeDesk(), looks=LIMIT)
    assert isinstance(done, NotYet)
    assert (desk.done, done.new_export) == (["first cancelled", "second asked for"], True)
    assert done.message == "the export did not finish; started a second one"


def test_when_the_second_one_is_forgotten_as_well_the_row_fails() -> None:
    desk = FakeDesk()
    with pytest.raises(RenderStuck):
        polled(desk, remote_render_id="second", renders=2, looks=LIMIT)
    assert desk.done == ["second cancelled"]


# What lies at a result's place stays there until a whole file replaces it; an equal row's is taken if it is as it was.


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "out" / "mine.mp4"
    path.parent.mkdir()
    path.write_bytes(OLDER)
    return path


@pytest.fixture
def same(tmp_path: Path) -> Result:
    path = tmp_path / "theirs.mp4"
    path.write_bytes(THEIRS)
    return Result(path, len(THEIRS), sha256(THEIRS).hexdigest())


def downloaded(desk: FakeDesk) -> list[bytes]:
    """What is in the result's folder then."""
    job = a_row(out=str(desk.place.parent), output=desk.place.name, same_as=desk.same and "job_2")
    try:
        download(job, cast("StageContext", desk))
    finally:
        assert desk.done == ["costs known"]  # the row ends with it, however it came to its file
    return [path.read_bytes() for path in desk.place.parent.iterdir()]


def test_a_whole_file_takes_the_place_of_an_older_one(place: Path) -> None:
    assert downloaded(FakeDesk(place=place)) == [NEW]


def test_a_download_that_breaks_leaves_the_older_one(place: Path) -> None:
    with pytest.raises(BrokenDownload):
        downloaded(FakeDesk(place=place, error=BrokenDownload()))
    assert [path.read_bytes() for path in place.parent.iterdir()] == [OLDER]


def test_a_file_that_is_as_it_was_is_taken_without_asking_the_service(place: Path, same: Result) -> None:
    assert downloaded(FakeDesk(place=place, same=same)) == [THEIRS]
    assert place.samefile(place.parents[1] / "theirs.mp4")  # it takes no room of its own


@pytest.mark.parametrize("wrong", ["size", "content", "gone"])
def test_a_file_that_is_not_what_it_was_is_left_alone(place: Path, same: Result, wrong: str) -> None:
    theirs = place.parents[1] / "theirs.mp4"
    if wrong == "size":
        same = replace(same, size=same.size + 1)
    elif wrong == "content":
        theirs.write_bytes(b"x" * same.size)
    else:
        theirs.unlink()
    assert downloaded(FakeDesk(place=place, same=same)) == [NEW]
    assert wrong == "gone" or theirs.exists()
