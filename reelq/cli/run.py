"""`reelq run`: a manifest in, finished videos out; in this process alone, or by the workers there are."""

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

import click

from reelq import logs
from reelq.cli import handing_in, live, play
from reelq.cli.deployment import Deployment, deployment
from reelq.cli.exits import INTERRUPTED
from reelq.cli.handing_in import Call
from reelq.cli.report import report
from reelq.cli.wording import many
from reelq.results import results_of_run
from reelq.settings import Settings
from reelq.store.overview import snapshot
from reelq.store.story import newest_event
from worker.inprocess import InProcess
from worker.process import Process, leave

_STOPS: Final = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


@dataclass(slots=True)
class _Stop:
    """Ctrl-C: the first ends the wait, the second ends the patience with what is still open."""

    process: Process | None = None
    asked: bool = False

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        if not self.asked:
            self.asked = True
            raise KeyboardInterrupt
        if self.process:
            self.process.at_once()


@click.command("run")
@handing_in.options
@click.option("--sandbox", is_flag=True, help="Try it with a stand-in for the service: no account, no credits.")
@click.option("--json", "as_json", is_flag=True, help="JSON, for programs: every event, then an object that sums up.")
def command(path: Path, as_json: bool, **asked: object) -> None:
    """Run MANIFEST: check it, ask, work through its rows, and put the videos and results.csv in a folder.

    Run again, it goes on where it stands: what is done is not done a second time, what is new or changed is. So it is
    also the way to go on after Ctrl-C, which stops cleanly, or after a power cut. Without a broker (REELQ_BROKER_URL)
    this process does all the work itself.

    \b
    Example: reelq run jobs.csv --first 3
    Exit code: 0 all rows succeeded, 1 some failed, 2 the manifest is wrong and nothing ran,
    3 rows wait for you, 130 interrupted.
    """
    call = Call(path, **asked)  # type: ignore[arg-type] # click gives what its options say
    settings = Settings.read()
    logs.set_up(settings.reelq_log_format, logging.ERROR)
    order = handing_in.order_of(call, settings)  # before anything is started for it
    stop = _Stop()
    service = play.sandbox(settings) if call.sandbox else nullcontext(settings)
    with _heeding(stop), service as told, deployment(told) as made:
        batch_id = handing_in.hand_in(made, order, call).batch_id
        with suppress(KeyboardInterrupt):
            _see_through(made, batch_id, stop, as_json=as_json)
        results = results_of_run(made.store, batch_id)
        code = report(made.store, batch_id, in_process=False, as_json=as_json, results=results)
    if stop.asked:
        click.echo(f"\nInterrupted; nothing is lost. `{_same_again(call)}` goes on.", err=True)
        code = INTERRUPTED
    leave(code)  # a thread that sits in a silent stream would hold up the end


@contextmanager
def _heeding(stop: _Stop) -> Iterator[None]:
    before = {number: signal.signal(number, stop) for number in _STOPS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _see_through(made: Deployment, batch_id: str, stop: _Stop, *, as_json: bool) -> None:
    """Show the batch until it is at rest, worked on by ourselves where there is nobody else."""
    show = live.chosen(as_json=as_json)
    if not made.in_process:
        live.follow(made.store, batch_id, show)
        return
    with made.store.read() as session:
        seen = snapshot(session, batch_id, made.store.now(session), shown=0)
        since = newest_event(session, batch_id)
    if seen.at_rest and not seen.unfinished:
        return
    process = stop.process = Process(made.settings)
    worker = InProcess(process, min(made.settings.reelq_max_in_flight, seen.total), batch_id)
    worker.start()
    try:
        live.follow(made.store, batch_id, show, since=since)
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


def _same_again(call: Call) -> str:
    words = ["reelq", "run", str(call.path)]
    words += ["--out", str(call.out)] if call.out else []
    words += ["--sandbox"] if call.sandbox else []
    return " ".join(words)
