"""`reelq resume`: what waits for a person goes on."""

import click

from reelq.cli.named import Named, named
from reelq.cli.queue import Queue
from reelq.cli.report import next_step
from reelq.cli.whereabouts import of_sandbox, of_service, queue_of
from reelq.cli.wording import many
from reelq.job import FINAL, Status
from reelq.store.models import BatchState


@click.command("resume")
@click.argument("target", metavar="BATCH|JOB")
@of_service
@of_sandbox
def command(target: str, api: str | None, sandbox: bool) -> None:
    """Let everything go on in a BATCH that waits for you; it also lifts --limit-credits and --first.

    That is what `reelq pause` held, what a limit stopped, the rows after the first ones, and rows that wait for
    credits, a plan or a token: if nothing has changed there, the first of them finds out and the rest wait again.
    With a JOB, that row alone tries again; its batch's limits stay.

    BATCH is an id or a piece of one, a manifest, or `last`; JOB is a row's id, or BATCH:ROW.

    \b
    Example: reelq resume last
    """
    with queue_of(named, target, sandbox=sandbox, api=api) as (queue, meant):
        done = queue.resume(meant).done
        if meant.job_id:
            click.echo(f"Row {meant.row} goes on." if done else _why_not(queue, meant))
        else:
            click.echo(f"{many(done, 'row')} released." if done else "No row of it was held up; no limit is left.")
        if done:
            click.echo(next_step(queue, meant.batch_id), err=True)


def _why_not(queue: Queue, meant: Named) -> str:
    status, batch = queue.status_of(meant), queue.stand(meant.batch_id).seen
    row = f"Row {meant.row}"
    if status in FINAL:
        again = f" `reelq retry {meant.batch_id}:{meant.row}` tries it again." if status is Status.FAILED else ""
        return f"{row} has {status}: there is nothing to resume.{again}".replace("has cancelled", "was cancelled")
    held = batch.state is BatchState.PAUSED or (batch.released is not None and meant.row > batch.released)
    if held:
        return f"{row} is held with its batch: `reelq resume {meant.batch_id}` lets all of it go on."
    if status is Status.WAITING:
        return f"{row} waits for another row, and goes on by itself."
    return f"{row} is {status} already."
