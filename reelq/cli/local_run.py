"""Follows a batch to its end for `reelq run`; without a broker, runs it in this process."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Final

import click

from reelq.cli.backends.local import Deployment, NoWorkerWarning
from reelq.cli.views.text import plural
from reelq.cli.views.watch import choose_view, follow, open_reader
from reelq.store.db.engine import Store
from reelq.store.queries.batch_status import Snapshot, snapshot
from worker.process import EmbeddedWorker, Process

_STOP_SIGNALS: Final = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_OUTAGE_SECONDS: Final = 3.0
"""Another process may hold the write lock of a SQLite file for a moment: that is not worth a report yet."""


@dataclass(slots=True)
class Stop:
    """Handles Ctrl-C: the first raises KeyboardInterrupt, the second stops waiting for rows in progress."""

    process: Process | None = None
    asked: bool = False
    submitted: bool = False

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        if not self.asked:
            self.asked = True
            raise KeyboardInterrupt
        if self.process:
            self.process.end_grace()


@contextmanager
def handle_stop_signals(stop: Stop) -> Iterator[None]:
    """Handle signals to stop with `stop` inside the block."""
    previous = {number: signal.signal(number, stop) for number in _STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def follow_to_end(local: Deployment, batch_id: str, stop: Stop, *, as_json: bool) -> None:
    """Show the batch until it is at rest. Without a broker, run its rows in this process meanwhile."""
    view = choose_view(as_json=as_json)
    if not local.in_process:
        follow(open_reader(local.store, batch_id), view, also=NoWorkerWarning(local, batch_id))
        return
    with local.store.read() as session:
        batch = snapshot(session, batch_id, local.store.now(session), shown=0)
    if batch.at_rest and not batch.unfinished:
        return
    process = stop.process = Process(local.settings)
    worker = EmbeddedWorker(process, min(local.settings.reelq_max_in_flight, batch.total), batch_id)
    read = open_reader(local.store, batch_id)  # shows the events from now on, also those of the start
    worker.start()

    def is_over(batch: Snapshot) -> bool:
        return batch.at_rest and (not batch.unfinished or process.has_checked_parked)

    try:
        follow(read, view, until=is_over, also=OutageReport(process.executor.store))
    except KeyboardInterrupt:
        if running := len(process.executor.held_jobs.all()):
            wait = f"waiting up to {local.settings.reelq_stop_grace:g} s for {plural(running, 'row')} in progress"
            click.echo(f"Stopping: {wait}. Press Ctrl-C again to stop at once; nothing is lost either way.", err=True)
        raise
    finally:
        worker.stop()


@dataclass(slots=True)
class OutageReport:
    """Reports that the database can't be written, so that rows make no progress, and when it can be again."""

    store: Store
    is_down: bool = False

    def __call__(self) -> None:
        """Report a change. Called each time the batch is read."""
        message = self.store.outage(_OUTAGE_SECONDS)
        if message and not self.is_down:
            click.echo(
                f"The database can't be written: {message}. Rows wait until it can be; nothing is lost.", err=True
            )
        elif self.is_down and not message:
            click.echo("The database can be written again; continuing.", err=True)
        self.is_down = bool(message)
