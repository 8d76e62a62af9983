"""`reelq cancel`: cancels a batch or a single row."""

import click

from reelq.cli.backends.base import Queue
from reelq.cli.targets import api_option, open_queue, resolve, sandbox_option
from reelq.cli.views.text import plural
from reelq.cli.views.watch import is_interactive
from reelq.store.commands import ActionCounts
from reelq.store.queries.lookup import Target


@click.command("cancel")
@click.argument("target", metavar="BATCH|JOB")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@api_option
@sandbox_option
def command(target: str, yes: bool, api: str | None, sandbox: bool) -> None:
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
    click.echo(_message(counts, resolved.row))


def _question(queue: Queue, resolved: Target) -> str:
    if resolved.job_id:
        return f"Cancel row {resolved.row} of {resolved.batch_id}?"
    batch = queue.state(resolved.batch_id)
    return f"Cancel {plural(batch.unfinished, 'row')} of {batch.name} ({resolved.batch_id})?"


def _message(counts: ActionCounts, row: int) -> str:
    if row:
        cancelled = "is cancelled" if counts.done else "will be cancelled at its next event" if counts.soon else ""
        outcome = cancelled or "had already ended"
        return f"Row {row} {outcome}."
    soon = f"; {plural(counts.soon, 'running row')} will be cancelled at the next event" if counts.soon else ""
    ended = f"; {plural(counts.not_so, 'row')} had already ended" if counts.not_so else ""
    return f"{plural(counts.done, 'row')} cancelled{soon}{ended}."
