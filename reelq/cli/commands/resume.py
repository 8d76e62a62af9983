"""`reelq resume`: continues rows that wait for the user."""

import click

from reelq.cli.backends.base import Queue, Target
from reelq.cli.targets import api_option, open_queue, resolve, sandbox_option
from reelq.cli.views.report import next_step
from reelq.cli.views.text import plural
from reelq.job import FINAL, Status
from reelq.store.db.models import BatchState


@click.command("resume")
@click.argument("target", metavar="BATCH|JOB")
@api_option
@sandbox_option
def command(target: str, api: str | None, sandbox: bool) -> None:
    """Let everything go on in a BATCH that waits for you; it also lifts --limit-credits and --first.

    That is what `reelq pause` held, what a limit stopped, the rows after the first ones, and rows that wait for
    credits, a plan or a token: if nothing has changed there, the first of them finds out and the rest wait again.
    With a JOB, that row alone tries again; its batch's limits stay.

    BATCH is an id or a piece of one, a manifest, or `last`; JOB is a row's id, or BATCH:ROW.

    \b
    Example: reelq resume last
    """
    with open_queue(resolve, target, sandbox=sandbox, api=api) as (queue, resolved):
        done = queue.resume(resolved).done
        if resolved.job_id:
            click.echo(f"Row {resolved.row} goes on." if done else _why_not(queue, resolved))
        else:
            click.echo(f"{plural(done, 'row')} released." if done else "No row of it was held up; no limit is left.")
        if done:
            click.echo(next_step(queue, resolved.batch_id), err=True)


def _why_not(queue: Queue, resolved: Target) -> str:
    status, batch = queue.status_of(resolved), queue.stand(resolved.batch_id).seen
    row = f"Row {resolved.row}"
    if status in FINAL:
        retry = f" `reelq retry {resolved.batch_id}:{resolved.row}` tries it again." if status is Status.FAILED else ""
        return f"{row} has {status}: there is nothing to resume.{retry}".replace("has cancelled", "was cancelled")
    is_held = batch.state is BatchState.PAUSED or (batch.released is not None and resolved.row > batch.released)
    if is_held:
        return f"{row} is held with its batch: `reelq resume {resolved.batch_id}` lets all of it go on."
    if status is Status.WAITING:
        return f"{row} waits for another row, and goes on by itself."
    return f"{row} is {status} already."
