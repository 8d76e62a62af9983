"""The interface of a queue: the same for a local database and for a REST service."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TextIO

from reelq.cli.views.watch import Reader
from reelq.job import Status
from reelq.results import Form
from reelq.store.commands import ActionCounts
from reelq.store.db.models import BatchState
from reelq.store.queries.batch_status import Snapshot
from reelq.store.queries.lookup import BatchInList
from reelq.store.queries.rows import Group


@dataclass(frozen=True, slots=True)
class Target:
    """What a name resolves to: a batch, or one row of it."""

    batch_id: str
    job_id: str = ""
    row: int = 0

    @property
    def kind(self) -> Literal["batch", "job"]:
        """Whether this is a batch or a row."""
        return "job" if self.job_id else "batch"


@dataclass(frozen=True, slots=True)
class BatchReport:
    """The state of a batch, and why rows of it failed or wait."""

    seen: Snapshot
    failed: list[Group]
    waiting: list[Group]


class Queue(Protocol):
    """What commands ask of a queue. Commands don't distinguish the backends, and show the same text for both."""

    @property
    def in_process(self) -> bool:
        """Whether a command has to do the work itself, because there are no workers."""

    def stand(self, batch_id: str) -> BatchReport:
        """The state of a batch, and why rows of it failed or wait."""

    def standings(self, limit: int) -> list[BatchInList]:
        """The newest batches, each with its counts and cost."""

    def watching(self, batch_id: str) -> AbstractContextManager[Reader]:
        """Open a function that reads a batch and shows what has happened since its last call."""

    def put_results(self, batch_id: str, file: TextIO, form: Form) -> None:
        """Write the result manifest into an open file."""

    def bring_videos(self, batch_id: str, folder: Path) -> bool:
        """Download every finished video into a folder. Returns whether all of them are there now."""

    def retry(self, target: Target) -> ActionCounts:
        """Queue failed rows again."""

    def cancel(self, target: Target) -> ActionCounts:
        """Cancel rows that have not ended."""

    def pause(self, target: Target) -> tuple[BatchState, ActionCounts]:
        """Pause a batch: no more stages start. Returns its new state."""

    def resume(self, target: Target) -> ActionCounts:
        """Continue rows that wait for the user."""

    def status_of(self, target: Target) -> Status:
        """The status of one row."""

    def way_on(self, batch: Snapshot) -> str:
        """Who continues the work, as a phrase for the user."""
