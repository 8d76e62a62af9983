"""What a stage works with: a frozen job, and a desk that does in a verb each what outlives the stage."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from reelq.errors import ReelqError
from reelq.job import Route, Stage
from reelq.remote.client import Remote
from reelq.remote.receipts import Session
from reelq.settings import Settings
from reelq.storage import Storage


class LetGo(Exception):
    """This process may not go on with the job: it was told to stop, or its lease has lapsed. Another takes over."""


class Cancelled(Exception):
    """The user has cancelled the row while it was worked on."""


@dataclass(frozen=True, slots=True)
class Job:
    """One row as a stage sees it."""

    id: str
    row: int
    run: int
    stage: Stage
    route: Route
    instruction: str
    language: str
    paths: tuple[Path, ...]
    urls: tuple[str, ...]
    result: Path | None
    """Where the finished file goes; None where it is kept in storage."""
    session: Session | None = None
    shares_session: bool = False
    """The session is that of the row before: what is in it is not ours alone."""
    upload_baseline: str = ""
    render_id: str = ""
    renders: int = 0
    looks: int = 0
    result_url: str = ""
    takes_a_result: bool = False
    """Another row did the same: its result is this one's."""
    output: str = ""
    """What the finished file is called."""
    names: tuple[str, ...] = ()
    """What the files at `paths` are called, where that is not what they are called there."""

    @property
    def part(self) -> Path | None:
        """Where the result is gathered until it is whole; storage has a place of its own for that."""
        return self.result and self.result.with_name(f"{self.result.name}.part")

    @property
    def remote_session(self) -> str:
        """The remote session's id; every stage after the upload has one."""
        if self.session is None:
            raise ValueError(f"{self.id} has no session yet")
        return self.session.session_id


@dataclass(frozen=True, slots=True)
class Sending:
    """A decision to send, as it was written down before anything went out."""

    id: int
    text: str
    baseline: dict[str, Any] | None
    fingerprint: str
    ended_well: bool = False
    reply: str = ""
    agent_error: str = ""
    reads: int = 0
    read_fingerprint: str = ""
    seconds_since: float = 0.0


@dataclass(frozen=True, slots=True)
class Finished:
    """Another row's finished file: where it was put, and what it was then."""

    path: Path | None
    """None where it was put into storage."""
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class NotYet:
    """Nothing is wrong and nothing is done: look again after so many seconds."""

    seconds: float
    words: str
    anew: bool = False
    """What is looked at has just begun: the looks are counted from here."""


class Desk(Protocol):
    """Each verb is one short transaction of its own, committed when it returns."""

    remote: Remote
    settings: Settings
    storage: Storage

    def check(self) -> None:
        """Raise `LetGo` or `Cancelled` if the stage may not go on. Cheap: to be called at every sign of life."""

    def progress(self, words: str) -> None:
        """How far it is, for people, from the third second on; what comes too fast is dropped."""

    def say(self, words: str) -> None:
        """What people should know of."""

    def remember_upload(self, fingerprint: str) -> None:
        """Write down how the draft was before files go into a shared session."""

    def sending(self) -> Sending | None:
        """The newest decision to send whose outcome is not settled."""

    def intend(self, baseline: dict[str, Any] | None) -> Sending:
        """Write down that the instruction is about to go out. From here on it is never sent again by itself."""

    def withdraw(self, sending: Sending, refusal: ReelqError) -> None:
        """It is proven that it did not go out, or was refused: another may."""

    def read_again(self, sending: Sending, fingerprint: str) -> int:
        """A look at the state that settles nothing yet; how many there were."""

    def read_balance(self, moment: Literal["before", "asked"]) -> int:
        """Take a reading of the credits; what is available."""

    def close_costs(self) -> None:
        """Before the row ends: take the reading after its instruction, if nobody has, and one is to be had.

        The row does not fail for want of it.
        """

    def reserve_render(self) -> str:
        """A new render id, written down before the service hears of it."""

    def same_result(self) -> Finished | None:
        """The file of the row that this one is the same as, where it takes that one's."""
