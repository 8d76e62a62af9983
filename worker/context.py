"""What a stage works with: a frozen job, and the interface through which it reads and records state."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from reelq.errors import ReelqError
from reelq.job import Route, Stage
from reelq.nemo.client import Remote
from reelq.nemo.types import Session
from reelq.settings import Settings
from reelq.storage import Storage


class JobReleased(Exception):
    """This process must stop working on the job: the worker is stopping, or its lease has expired or been lost.

    Another worker takes over.
    """


class Cancelled(Exception):
    """The user cancelled the row while a stage was running."""


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
    """Where the finished file goes, or None if it goes to storage."""
    session: Session | None = None
    shares_session: bool = False
    """Whether the row continues in the session of the row before it, which holds that row's files and edits too."""
    upload_baseline: str = ""
    render_id: str = ""
    renders: int = 0
    looks: int = 0
    result_url: str = ""
    takes_a_result: bool = False
    """Whether another row has the same inputs and instruction, so that its result can be reused."""
    output: str = ""
    """The finished file's path below the batch's folder, or its name if it goes to storage."""
    names: tuple[str, ...] = ()
    """The names of the files at `paths`, if these differ from the names on disk. Empty if they do not."""

    @property
    def part(self) -> Path | None:
        """Where an incomplete download is kept. None if the result goes to storage, which has a scratch folder."""
        return self.result and self.result.with_name(f"{self.result.name}.part")

    @property
    def remote_session(self) -> str:
        """The remote session's id. Every stage after the upload has one."""
        if self.session is None:
            raise ValueError(f"{self.id} has no session yet")
        return self.session.session_id


@dataclass(frozen=True, slots=True)
class PendingSend:
    """A decision to send an instruction, recorded before the request goes out."""

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
class ExistingResult:
    """Another row's finished file: its path, size and hash when it was downloaded."""

    path: Path | None
    """None if the file is in storage."""
    size: int
    sha256: str


class Receipt:
    """What a stage returns when it is done: what to say of it, and what it changes about the job."""

    __slots__ = ()

    @property
    def message(self) -> str:
        """What happened, for people."""
        raise NotImplementedError

    @property
    def columns(self) -> dict[str, Any]:
        """The job's columns that it sets."""
        return {}

    @property
    def next_in(self) -> float:
        """In how many seconds the next stage is due."""
        return 0.0


@dataclass(frozen=True, slots=True)
class NotYet:
    """There is no result yet and no error: run the stage again after this many seconds."""

    seconds: float
    words: str
    anew: bool = False
    """Whether the count of polls restarts, as a new export has just begun."""


class StageContext(Protocol):
    """What a stage reads and records. Each method is one short transaction, committed when it returns."""

    remote: Remote
    settings: Settings
    storage: Storage

    def check(self) -> None:
        """Raise `JobReleased` or `Cancelled` if the stage must stop. It is cheap: call it for every chunk or event."""

    def progress(self, message: str) -> None:
        """Report progress to the user, at most once every three seconds. Reports in between are dropped."""

    def say(self, message: str) -> None:
        """Record a message for the user."""

    def remember_upload(self, fingerprint: str) -> None:
        """Record the fingerprint of a shared session's draft before files go into it."""

    def sending(self) -> PendingSend | None:
        """Return the newest decision to send whose outcome is still open."""

    def intend(self, baseline: dict[str, Any] | None) -> PendingSend:
        """Record that the instruction is about to be sent. From then on no retry sends it again."""

    def withdraw(self, sending: PendingSend, refusal: ReelqError) -> None:
        """Withdraw a decision whose instruction provably did not go out or was refused, so that another may follow."""

    def read_again(self, sending: PendingSend, fingerprint: str) -> int:
        """Record a read of the session that left the outcome open. Return how many such reads there were."""

    def read_balance(self, moment: Literal["before", "asked"]) -> int:
        """Record the account's balance and return the available credits."""

    def close_costs(self) -> None:
        """Record the balance after the row's instruction, if that has not been done. Call it before the row ends.

        If the balance cannot be read, the row does not fail.
        """

    def reserve_render(self) -> str:
        """Create a render id and record it before it is sent to the service."""

    def same_result(self) -> ExistingResult | None:
        """Return the finished file of the row whose result this one reuses, if there is one."""
