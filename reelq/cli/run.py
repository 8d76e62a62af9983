"""`reelq run`: a manifest in, finished videos out; in this process alone, or by the workers there are."""

import logging
from contextlib import nullcontext, suppress
from pathlib import Path

import click

from reelq import logs
from reelq.cli import handing_in, play
from reelq.cli.deployment import deployment
from reelq.cli.exits import INTERRUPTED
from reelq.cli.handing_in import Call
from reelq.cli.here import Here
from reelq.cli.report import report
from reelq.cli.seeing_through import Stop, heeding, see_through
from reelq.results import results_of_run
from reelq.settings import Settings
from reelq.store.orders import Order
from worker.process import leave


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
    stop = Stop()
    with heeding(stop):
        try:
            code = _run(call, settings, order, stop, as_json=as_json)
        except (KeyboardInterrupt, click.Abort):  # click has its own word for it while it asks
            code = INTERRUPTED
        if stop.asked or code == INTERRUPTED:
            code, stop.asked = INTERRUPTED, True
            words = f"nothing is lost. `{_same_again(call)}` goes on." if stop.begun else "nothing was run."
            click.echo(f"\nInterrupted; {words}", err=True)
        leave(code)  # a thread that sits in a silent stream would hold up the end


def _run(call: Call, settings: Settings, order: Order, stop: Stop, *, as_json: bool) -> int:
    service = play.sandbox(settings) if call.sandbox else nullcontext(settings)
    with service as told, deployment(told, is_play=call.sandbox) as made:
        batch_id = handing_in.hand_in(made, order, call).batch_id
        stop.begun = True
        with suppress(KeyboardInterrupt):
            see_through(made, batch_id, stop, as_json=as_json)
        results = results_of_run(made.store, batch_id)
        return report(Here(made), batch_id, as_json=as_json, results=results)


def _same_again(call: Call) -> str:
    words = ["reelq", "run", str(call.path)]
    words += ["--out", str(call.out)] if call.out else []
    words += ["--sandbox"] if call.sandbox else []
    return " ".join(words)
