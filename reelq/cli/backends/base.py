"""What commands ask of a queue. They don't distinguish the backends, and show the same text for both."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, TextIO

from reelq.cli.views.watch import Reader
from reelq.job import Status
from reelq.results import Form
from reelq.store.commands import ActionCounts
from reelq.store.db.models import BatchState
from reelq.store.queries.batch_status import Snapshot
from reelq.store.queries.lookup import BatchInfo, BatchInList, Target


class Directory(Protocol):
    """The batches and rows that a user can name."""

    def batches(self) -> Sequence[BatchInfo]:
        """All of the user's batches, newest first, so that a manifest resolves to its newest batch."""

    def newest(self) -> BatchInfo | None:
        """The newest of the user's batches."""

    def with_id(self, batch_id: str) -> BatchInfo | None:
        """The batch with exactly this id."""

    def successor(self, batch_id: str) -> BatchInfo | None:
        """The newer batch that took over all rows of this one."""

    def row_with_id(self, job_id: str) -> Target | None:
        """The row with exactly this id, if it belongs to the user."""

    def rows_named(self, batch_id: str, word: str) -> Sequence[Target]:
        """The rows of a batch with this number or this id from the manifest; usually one and the same row."""


class Queue(Protocol):
    """The state of batches, and the actions on them."""

    @property
    def in_process(self) -> bool:
        """Whether a command has to do the work itself, because there are no workers."""

    def state(self, batch_id: str) -> Snapshot:
        """The state of a batch, and why rows of it failed or wait."""

    def newest_batches(self, limit: int) -> list[BatchInList]:
        """The newest batches, each with its counts and cost."""

    def watching(self, batch_id: str) -> AbstractContextManager[Reader]:
        """Open a function that reads a batch and shows what has happened since its last call."""

    def write_results(self, batch_id: str, file: TextIO, form: Form) -> None:
        """Write the result manifest into an open file."""

    def download_videos(self, batch_id: str, folder: Path) -> bool:
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

    def who_continues(self, batch: Snapshot) -> str:
        """Who continues the work, as a phrase for the user."""
