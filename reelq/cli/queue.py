"""The queue as commands use it, wherever it is: in a database of this machine's, or behind a REST service."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TextIO

from reelq.cli.live import Look
from reelq.cli.named import Named
from reelq.job import Status
from reelq.results import Form
from reelq.store.batchlist import Standing
from reelq.store.handling import Handled
from reelq.store.models import BatchState
from reelq.store.outcomes import Group
from reelq.store.overview import Snapshot


@dataclass(frozen=True, slots=True)
class Stand:
    """How a batch stands, and what stopped its rows."""

    seen: Snapshot
    failed: list[Group]
    waiting: list[Group]


class Queue(Protocol):
    """What commands ask of it. They are the same for either, and tell the same in the same words."""

    @property
    def in_process(self) -> bool:
        """Whether a command has to do the work itself, for want of workers."""

    def stand(self, batch_id: str) -> Stand:
        """How a batch stands."""

    def standings(self, limit: int) -> list[Standing]:
        """The newest batches."""

    def watching(self, batch_id: str) -> AbstractContextManager[Look]:
        """What looks at a batch, and shows what has happened in it since the last look."""

    def put_results(self, batch_id: str, file: TextIO, form: Form) -> None:
        """The result manifest, into an open file."""

    def bring_videos(self, batch_id: str, folder: Path) -> bool:
        """Every finished video into a folder; whether all of them are there now."""

    def retry(self, meant: Named) -> Handled:
        """What failed goes again."""

    def cancel(self, meant: Named) -> Handled:
        """What has not ended goes no further."""

    def pause(self, meant: Named) -> tuple[BatchState, Handled]:
        """No stage of a batch begins any more; what the batch is now."""

    def resume(self, meant: Named) -> Handled:
        """What a person held up goes on."""

    def status_of(self, meant: Named) -> Status:
        """Where one row is."""

    def way_on(self, seen: Snapshot) -> str:
        """Who does what is to be done now."""
