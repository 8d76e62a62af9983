"""`reelq resume`: continues rows that wait for the user."""

import click

from reelq.cli.backends.base import Queue
from reelq.cli.targets import api_option, open_queue, resolve, sandbox_option
from reelq.cli.views.report import next_step
from reelq.cli.views.text import plural
from reelq.job import FINAL, Status
from reelq.store.db.models import BatchState
from reelq.store.queries.lookup import Target


@click.command("resume")
@click.argument("target", metavar="BATCH|JOB")
@api_option
@sandbox_option
def command(target: str, api: str | None, sandbox: bool) -> None:
    """Resume everything in a BATCH that waits for you, and lift --limit-credits and --first.

    This includes rows held by `reelq pause`, --first or a limit, and rows that wait for credits, a plan or a token:
    if nothing has changed there, the first row finds out and the rest wait again. With a JOB, only that row is
    resumed; its batch's limits stay.

    BATCH is an id or part of one, a manifest, or `last`; JOB is a row's id, or BATCH:ROW.

    \b
    Example: reelq resume last
    """
    with open_queue(resolve, target, sandbox=sandbox, api=api) as (queue, resolved):
        done = queue.resume(resolved).done
        if resolved.job_id:
            click.echo(f"Row {resolved.row} is resumed." if done else _why_not(queue, resolved))
        else:
            click.echo(f"{plural(done, 'row')} released." if done else "No rows were held; all limits are lifted.")
        if done:
            click.echo(next_step(queue, resolved.batch_id), err=True)


def _why_not(queue: Queue, resolved: Target) -> str:
    status, batch = queue.status_of(resolved), queue.state(resolved.batch_id)
    row = f"Row {resolved.row}"
    if status in FINAL:
        retry = f" Retry it with `reelq retry {resolved.batch_id}:{resolved.row}`." if status is Status.FAILED else ""
        return f"{row} has {status}: there is nothing to resume.{retry}".replace("has cancelled", "was cancelled")
    is_held = batch.state is BatchState.PAUSED or (batch.released is not None and resolved.row > batch.released)
    if is_held:
        return f"{row} is held with its batch; resume the batch with `reelq resume {resolved.batch_id}`."
    if status is Status.WAITING:
        return f"{row} waits for another row and continues by itself."
    return f"{row} is already {status}."
