"""`reelq cancel`, `pause`, `resume` and `retry`: act on a batch or on a single row."""

import click

from reelq.cli.backends.base import Queue
from reelq.cli.targets import api_option, open_queue, resolve, sandbox_option
from reelq.cli.views.report import next_step
from reelq.cli.views.text import plural
from reelq.cli.views.watch import is_interactive
from reelq.job import FINAL, Status
from reelq.store.commands import ActionCounts
from reelq.store.db.models import BatchState
from reelq.store.queries.lookup import Target


@click.command("cancel")
@click.argument("target", metavar="BATCH|JOB")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@api_option
@sandbox_option
def cancel(target: str, yes: bool, api: str | None, sandbox: bool) -> None:
    """Cancel a BATCH or a single JOB. On a terminal it asks for confirmation.

    A running row ends at its next event; its cost and the agent's reply are kept. Finished videos stay, credits are
    not refunded. Retry a single row with `reelq retry`, or all rows by running the manifest again.

    BATCH is an id or part of one, a manifest, or `last`; JOB is a row's id, or BATCH:ROW.

    \b
    Example: reelq cancel last --yes
    """
    with open_queue(resolve, target, sandbox=sandbox, api=api) as (queue, resolved):
        if not yes and is_interactive():
            click.confirm(_question(queue, resolved), abort=True, err=True)
        counts = queue.cancel(resolved)
    click.echo(_cancelled(counts, resolved.row))


def _question(queue: Queue, resolved: Target) -> str:
    if resolved.job_id:
        return f"Cancel row {resolved.row} of {resolved.batch_id}?"
    batch = queue.state(resolved.batch_id)
    return f"Cancel {plural(batch.unfinished, 'row')} of {batch.name} ({resolved.batch_id})?"


def _cancelled(counts: ActionCounts, row: int) -> str:
    if row:
        cancelled = "is cancelled" if counts.done else "will be cancelled at its next event" if counts.soon else ""
        return f"Row {row} {cancelled or 'had already ended'}."
    soon = f"; {plural(counts.soon, 'running row')} will be cancelled at the next event" if counts.soon else ""
    ended = f"; {plural(counts.not_so, 'row')} had already ended" if counts.not_so else ""
    return f"{plural(counts.done, 'row')} cancelled{soon}{ended}."


@click.command("pause")
@click.argument("target", metavar="BATCH")
@api_option
@sandbox_option
def pause(target: str, api: str | None, sandbox: bool) -> None:
    """Pause BATCH: running stages finish, no new ones start until `reelq resume`.

    BATCH is an id or part of one, a manifest, or `last`.

    \b
    Example: reelq pause last
    """
    with open_queue(resolve, target, sandbox=sandbox, api=api) as (queue, resolved):
        if resolved.job_id:
            advice = f"`reelq pause {resolved.batch_id}`. A single row can be cancelled."
            raise click.UsageError(f"Only whole batches can be paused: {advice}")
        state, counts = queue.pause(resolved)
    click.echo(_paused(state, counts, resolved.batch_id))


def _paused(state: BatchState, counts: ActionCounts, batch_id: str) -> str:
    if state is BatchState.CANCELLED:
        return "The batch was cancelled: there is nothing to pause."
    if not counts.done and not counts.soon:
        return "Paused, but all its rows have already ended."
    soon = f"; {plural(counts.soon, 'running row')} will finish the current stage" if counts.soon else ""
    return f"Paused: {plural(counts.done, 'row')} held{soon}. Continue with `reelq resume {batch_id}`."


@click.command("resume")
@click.argument("target", metavar="BATCH|JOB")
@api_option
@sandbox_option
def resume(target: str, api: str | None, sandbox: bool) -> None:
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
            click.echo(f"Row {resolved.row} is resumed." if done else _why_not_resumed(queue, resolved))
        else:
            click.echo(f"{plural(done, 'row')} released." if done else "No rows were held; all limits are lifted.")
        if done:
            click.echo(next_step(queue, resolved.batch_id), err=True)


def _why_not_resumed(queue: Queue, resolved: Target) -> str:
    status, batch = queue.status_of(resolved), queue.state(resolved.batch_id)
    row = f"Row {resolved.row}"
    if status in FINAL:
        retry = f" Retry it with `reelq retry {resolved.batch_id}:{resolved.row}`." if status is Status.FAILED else ""
        return f"{row} {'was' if status is Status.CANCELLED else 'has'} {status}: there is nothing to resume.{retry}"
    if batch.state is BatchState.PAUSED or (batch.released is not None and resolved.row > batch.released):
        return f"{row} is held with its batch; resume the batch with `reelq resume {resolved.batch_id}`."
    if status is Status.WAITING:
        return f"{row} waits for another row and continues by itself."
    return f"{row} is already {status}."


@click.command("retry")
@click.argument("target", metavar="BATCH|JOB")
@api_option
@sandbox_option
def retry(target: str, api: str | None, sandbox: bool) -> None:
    """Retry all failed rows of a BATCH, or one failed or cancelled JOB.

    An edit that may have taken effect is checked before its instruction is sent again; paid results that still exist
    are kept. Rows cancelled because a previous row failed are queued with it.

    BATCH is an id or part of one, a manifest, or `last`; JOB is a row's id, or BATCH:ROW.

    \b
    Example: reelq retry last
    Example: reelq retry last:3
    """
    with open_queue(resolve, target, sandbox=sandbox, api=api) as (queue, resolved):
        counts = queue.retry(resolved)
        if resolved.job_id:
            outcome = "is queued again." if counts.done else "has not failed; nothing to retry."
            click.echo(f"Row {resolved.row} {outcome}")
        else:
            rest = f"; {plural(counts.not_so, 'row')} had not failed" if counts.not_so else ""
            click.echo(f"{plural(counts.done, 'row')} queued again{rest}.")
        if counts.done:
            click.echo(next_step(queue, resolved.batch_id), err=True)
