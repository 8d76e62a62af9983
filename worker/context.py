"""What a stage works with: its receipt, and the interface through which it reads and records state."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from reelq.errors import ReelqError
from reelq.job import OpenSend
from reelq.nemo.client import Remote
from reelq.settings import Settings
from reelq.storage import Storage
from reelq.store.jobs.dependents import Result


class JobReleased(Exception):
    """This process must stop working on the job: the worker is stopping, or its lease has expired or been lost.

    Another worker takes over.
    """


class Cancelled(Exception):
    """The user cancelled the row while a stage was running."""


class InputFiles(NamedTuple):
    """The files of a row."""

    paths: tuple[Path, ...] = ()
    urls: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    """The names of the files at `paths`, if these differ from the names on disk. Empty if they do not."""


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
    message: str
    new_export: bool = False
    """Whether a new export has just begun, so that the count of polls restarts."""


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

    def input_files(self) -> InputFiles:
        """Return the row's files. Raise `FileUnreadable` if one is no longer in storage."""

    def remember_upload(self, fingerprint: str) -> None:
        """Record the fingerprint of a shared session's draft before files go into it."""

    def open_send(self) -> OpenSend | None:
        """Return the newest decision to send whose outcome is still open."""

    def intend(self, baseline: dict[str, Any] | None) -> str:
        """Record that the instruction is about to be sent, and return it. From then on no retry sends it again."""

    def withdraw(self, refusal: ReelqError) -> None:
        """Withdraw a decision whose instruction provably did not go out or was refused, so that another may follow."""

    def read_again(self, send: OpenSend, fingerprint: str) -> int:
        """Record a read of the session that left the outcome open. Return how many such reads there were."""

    def read_balance(self, moment: Literal["before", "asked"]) -> int:
        """Record the account's balance and return the available credits."""

    def close_costs(self) -> None:
        """Record the balance after the row's instruction, if that has not been done. Call it before the row ends.

        If the balance cannot be read, the row does not fail.
        """

    def reserve_render(self) -> str:
        """Create a render id and record it before it is sent to the service."""

    def same_result(self) -> Result | None:
        """Return the finished file of the row whose result this one reuses, if there is one."""
