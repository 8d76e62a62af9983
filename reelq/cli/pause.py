"""`reelq pause`: no stage of a batch begins until it is resumed."""

import click

from reelq.cli.named import named
from reelq.cli.whereabouts import of_sandbox, of_service, queue_of
from reelq.cli.wording import many
from reelq.store.handling import Handled
from reelq.store.models import BatchState


@click.command("pause")
@click.argument("target", metavar="BATCH")
@of_service
@of_sandbox
def command(target: str, api: str | None, sandbox: bool) -> None:
    """Let no stage of BATCH begin until `reelq resume`. Stages that run come to their end, and their work is kept.

    BATCH is an id or a piece of one, a manifest, or `last`.

    \b
    Example: reelq pause last
    """
    with queue_of(named, target, sandbox=sandbox, api=api) as (queue, meant):
        if meant.job_id:
            message = f"pause holds a whole batch: reelq pause {meant.batch_id}. A single row can be cancelled."
            raise click.UsageError(message)
        state, met = queue.pause(meant)
    click.echo(_told(state, met, meant.batch_id))


def _told(state: BatchState, met: Handled, batch_id: str) -> str:
    if state is BatchState.CANCELLED:
        return "The batch was cancelled: there is nothing to pause."
    if not met.done and not met.soon:
        return "Paused, though all its rows have ended."
    soon = f"; {many(met.soon, 'row')} at work finish their stage" if met.soon else ""
    return f"Paused: {many(met.done, 'row')} held{soon}. `reelq resume {batch_id}` lets them go on."
