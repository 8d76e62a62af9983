"""`reelq pause`: pauses a batch. Running stages finish, no new ones start."""

import click

from reelq.cli.targets import api_option, open_queue, resolve, sandbox_option
from reelq.cli.views.text import plural
from reelq.store.commands import ActionCounts
from reelq.store.db.models import BatchState


@click.command("pause")
@click.argument("target", metavar="BATCH")
@api_option
@sandbox_option
def command(target: str, api: str | None, sandbox: bool) -> None:
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
    click.echo(_message(state, counts, resolved.batch_id))


def _message(state: BatchState, counts: ActionCounts, batch_id: str) -> str:
    if state is BatchState.CANCELLED:
        return "The batch was cancelled: there is nothing to pause."
    if not counts.done and not counts.soon:
        return "Paused, but all its rows have already ended."
    soon = f"; {plural(counts.soon, 'running row')} will finish the current stage" if counts.soon else ""
    return f"Paused: {plural(counts.done, 'row')} held{soon}. Continue with `reelq resume {batch_id}`."
