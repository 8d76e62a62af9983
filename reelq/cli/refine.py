"""`reelq refine`: more words for the agent about a row, in the session where it left off."""

from pathlib import Path

import click

from reelq.cli.deployment import OWNER, Deployment, deployment
from reelq.cli.live import chosen, follow
from reelq.cli.named import job_named
from reelq.cli.report import report
from reelq.store.handling import refine_row
from worker.inprocess import InProcess
from worker.process import Process, leave


@click.command("refine")
@click.argument("job")
@click.argument("instruction")
@click.option("--json", "as_json", is_flag=True, help="JSON, for programs: every event, then an object that sums up.")
def command(job: str, instruction: str, as_json: bool) -> None:
    """Tell the agent INSTRUCTION where JOB left off; the result is a video of its own beside the first.

    It is also how to answer an agent that asked back. JOB is a row's id, or BATCH:ROW. With a broker, a worker does it;
    without one this process does, and the same command again goes on with what was interrupted.

    \b
    Example: reelq refine last:3 "Make the title yellow"
    Exit code: as of `reelq run`; with a broker, 0 once it is in the queue.
    """
    with deployment() as made:
        meant = job_named(made.store, OWNER, job)
        batch_id, is_new = refine_row(made.store, meant.job_id, instruction)
        if not is_new:
            click.echo("The same is under way already; going on with it.", err=True)
        if not made.in_process:
            click.echo(batch_id)
            click.echo(f"A worker takes it; `reelq watch {batch_id}` shows how it goes.", err=True)
            return
        code = _work(made, batch_id, as_json=as_json)
    leave(code)  # a thread that sits in a silent stream would hold up the end


def _work(made: Deployment, batch_id: str, *, as_json: bool) -> int:
    worker = InProcess(Process(made.settings), 1, batch_id)
    worker.start()
    try:
        seen = follow(made.store, batch_id, chosen(as_json=as_json), since=0)
    finally:
        worker.stop()
    return report(made.store, batch_id, in_process=True, as_json=as_json, results=Path(seen.out))
