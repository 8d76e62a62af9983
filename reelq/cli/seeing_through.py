"""A batch seen through to its end by the command that asked for it: worked on here, or by the workers there are."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Final

import click

from reelq.cli import live
from reelq.cli.alarm import Alarm
from reelq.cli.deployment import Deployment
from reelq.cli.wording import many
from reelq.settings import Settings
from reelq.store.overview import Snapshot, snapshot
from reelq.store.session import Store
from reelq.store.story import newest_event
from worker.inprocess import InProcess
from worker.process import Process

_STOPS: Final = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

_PATIENCE: Final = 3.0
"""Another process may hold a file's one writer for a moment: that is no trouble yet."""


@dataclass(slots=True)
class Stop:
    """Ctrl-C: the first ends the wait, the second ends the patience with what is still open."""

    process: Process | None = None
    asked: bool = False
    begun: bool = False
    """Whether anything is in the queue yet."""

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        if not self.asked:
            self.asked = True
            raise KeyboardInterrupt
        if self.process:
            self.process.at_once()


@contextmanager
def heeding(stop: Stop) -> Iterator[None]:
    """From here on signals to stop are this one's."""
    before = {number: signal.signal(number, stop) for number in _STOPS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def see_through(made: Deployment, batch_id: str, stop: Stop, *, as_json: bool) -> None:
    """Show the batch until it is at rest, worked on by ourselves where there is nobody else."""
    show = live.chosen(as_json=as_json)
    if not made.in_process:
        live.follow(made.store, batch_id, show, also=Alarm(made, batch_id))
        return
    with made.store.read() as session:
        seen = snapshot(session, batch_id, made.store.now(session), shown=0)
        since = newest_event(session, batch_id)
    if seen.at_rest and not seen.unfinished:
        return
    process = stop.process = Process(made.settings)
    worker = InProcess(process, min(made.settings.reelq_max_in_flight, seen.total), batch_id)
    worker.start()

    def over(seen: Snapshot) -> bool:
        return seen.at_rest and (not seen.unfinished or process.has_looked_at_parked)

    try:
        live.follow(made.store, batch_id, show, until=over, since=since, also=Ailment(process.pipeline.store))
    except KeyboardInterrupt:
        _tell_of_stopping(process, made.settings)
        raise
    finally:
        worker.stop()


def _tell_of_stopping(process: Process, settings: Settings) -> None:
    open_ = len(process.pipeline.hands.all())
    if open_:
        patience = f"up to {settings.reelq_stop_grace:g} s"
        click.echo(
            f"Stopping: {many(open_, 'row')} {'is' if open_ == 1 else 'are'} in the midst of something; waiting "
            f"{patience} for {'it' if open_ == 1 else 'them'}. Ctrl-C again lets go at once, and loses nothing either.",
            err=True,
        )


@dataclass(slots=True)
class Ailment:
    """Says that nothing can be written down, so that the rows stand still, and when it can again."""

    store: Store
    told: str = ""

    def __call__(self) -> None:
        """Called after each look at the batch."""
        words = self.store.ails(_PATIENCE)
        if words and not self.told:
            click.echo(
                f"The database can't be written: {words}. The rows wait until it can; nothing is lost.", err=True
            )
        elif self.told and not words:
            click.echo("The database can be written again; the rows go on.", err=True)
        self.told = words
