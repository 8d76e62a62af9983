"""`reelq cancel`: what has not ended goes no further."""

import click

from reelq.cli.live import is_interactive
from reelq.cli.named import Named, named
from reelq.cli.queue import Queue
from reelq.cli.whereabouts import of_sandbox, of_service, queue_of
from reelq.cli.wording import many
from reelq.store.handling import Handled


@click.command("cancel")
@click.argument("target", metavar="BATCH|JOB")
@click.option("--yes", is_flag=True, help="Do not ask.")
@of_service
@of_sandbox
def command(target: str, yes: bool, api: str | None, sandbox: bool) -> None:
    """End all rows of a BATCH that have not ended, or one JOB. On a terminal it asks first.

    A row at work ends at its next event, its cost and the agent's words recorded. Finished videos stay, and what was
    paid for is not given back. `reelq retry` takes up a single row again; running the manifest again, all of them.

    BATCH is an id or a piece of one, a manifest, or `last`; JOB is a row's id, or BATCH:ROW.

    \b
    Example: reelq cancel last --yes
    """
    with queue_of(named, target, sandbox=sandbox, api=api) as (queue, meant):
        if not yes and is_interactive():
            click.confirm(_question(queue, meant), abort=True, err=True)
        met = queue.cancel(meant)
    click.echo(_told(met, meant.row))


def _question(queue: Queue, meant: Named) -> str:
    if meant.job_id:
        return f"Cancel row {meant.row} of {meant.batch_id}?"
    seen = queue.stand(meant.batch_id).seen
    return f"Cancel {many(seen.unfinished, 'row')} of {seen.name} ({meant.batch_id})?"


def _told(met: Handled, row: int) -> str:
    if row:
        done = "is cancelled" if met.done else "will end at its next event" if met.soon else "had ended: left alone"
        return f"Row {row} {done}."
    soon = f"; {many(met.soon, 'row')} at work will end at the next event" if met.soon else ""
    rest = f"; {many(met.not_so, 'row')} had ended" if met.not_so else ""
    return f"{many(met.done, 'row')} cancelled{soon}{rest}."
