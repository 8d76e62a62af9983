"""`reelq refine`: more words for the agent about a row, in the session where it left off."""

from contextlib import suppress
from pathlib import Path

import click

from reelq.cli.asking import funds
from reelq.cli.deployment import Deployment
from reelq.cli.exits import INTERRUPTED
from reelq.cli.foretelling import in_words
from reelq.cli.handing_in import go_ahead, warn_of_broker
from reelq.cli.here import Here
from reelq.cli.named import Named, job_named
from reelq.cli.report import report, shown_path
from reelq.cli.seeing_through import Stop, heeding, see_through
from reelq.cli.whereabouts import whereabouts
from reelq.cli.wording import lines, one_line
from reelq.errors import CannotRefine
from reelq.store.estimates import estimate
from reelq.store.handling import refine_row, would_send
from reelq.store.outcomes import outcomes
from reelq.store.overview import snapshot
from worker.process import leave


@click.command("refine")
@click.argument("job")
@click.argument("instruction")
@click.option("--yes", "-y", is_flag=True, help="Do not ask before credits can be spent.")
@click.option("--json", "as_json", is_flag=True, help="JSON, for programs: every event, then an object that sums up.")
def command(job: str, instruction: str, yes: bool, as_json: bool) -> None:
    """Tell the agent INSTRUCTION where JOB left off; the result is a video of its own beside the first.

    It is also how to answer an agent that asked back. JOB is a row's id, or BATCH:ROW. With a broker, a worker does it;
    without one this process does, and the same command again goes on with what was interrupted.

    \b
    Example: reelq refine last:3 "Make the title yellow"
    Exit code: as of `reelq run`; with a broker, 0 once it is in the queue.
    """
    with whereabouts(job_named, job) as (made, meant):
        batch_id = _hand_in(made, meant, instruction, yes=yes)
        if not made.in_process:
            click.echo(batch_id)
            click.echo(f"A worker takes it; `reelq watch {batch_id}` shows how it goes.", err=True)
            warn_of_broker(made)
            return
        code = _work(made, batch_id, as_json=as_json)
    leave(code)  # a thread that sits in a silent stream would hold up the end


def _hand_in(made: Deployment, meant: Named, instruction: str, *, yes: bool) -> str:
    if made.is_play:
        refused = CannotRefine(f"The sandbox that row {meant.row} was run with has ended, and its session with it")
        refused.advice = "Change the row in its manifest, and run that with --sandbox again."
        raise refused
    if would_send(made.store, meant.job_id, instruction):
        there = funds(made.settings)
        click.echo(in_words(estimate(1, highest=there.highest), there), err=True)
        go_ahead(yes=yes)
    batch_id, is_new = refine_row(made.store, meant.job_id, instruction)
    if not is_new:
        click.echo("The same is under way already; going on with it.", err=True)
    return batch_id


def _work(made: Deployment, batch_id: str, *, as_json: bool) -> int:
    stop = Stop()
    with heeding(stop):
        with suppress(KeyboardInterrupt):
            see_through(made, batch_id, stop, as_json=as_json)
        with made.store.read() as session:
            folder = Path(snapshot(session, batch_id, made.store.now(session), shown=0).out)
        code = report(Here(made), batch_id, as_json=as_json, results=folder)
        if not as_json:
            _show_result(made, batch_id, folder)
    if stop.asked:
        click.echo("\nInterrupted; nothing is lost. The same command goes on.", err=True)
    return INTERRUPTED if stop.asked else code


def _show_result(made: Deployment, batch_id: str, folder: Path) -> None:
    for row in outcomes(made.store, batch_id):
        if row.result_path:
            click.echo(f"Its video: {one_line(shown_path(folder / row.result_path))}")
        if row.reply:
            click.echo("The agent says:")
            click.echo("\n".join(f"  {line}" for line in lines(row.reply)))
