"""`reelq retry`: what failed goes again, from where what failed it asks for."""

import click

from reelq.cli.named import named
from reelq.cli.report import next_step
from reelq.cli.whereabouts import of_sandbox, of_service, queue_of
from reelq.cli.wording import many


@click.command("retry")
@click.argument("target", metavar="BATCH|JOB")
@of_service
@of_sandbox
def command(target: str, api: str | None, sandbox: bool) -> None:
    """Queue every failed row of a BATCH again, or one failed or cancelled JOB.

    An edit that may have taken effect is looked at once more before its instruction is sent again; what was paid for
    and is still there is kept. Rows that were cancelled because a row before them failed follow it.

    BATCH is an id or a piece of one, a manifest, or `last`; JOB is a row's id, or BATCH:ROW.

    \b
    Example: reelq retry last
    Example: reelq retry last:3
    """
    with queue_of(named, target, sandbox=sandbox, api=api) as (queue, meant):
        met = queue.retry(meant)
        if meant.job_id:
            click.echo(f"Row {meant.row} " + ("is queued again." if met.done else "has not failed: left alone."))
        else:
            rest = f"; {many(met.not_so, 'row')} had not failed" if met.not_so else ""
            click.echo(f"{many(met.done, 'row')} queued again{rest}.")
        if met.done:
            click.echo(next_step(queue, meant.batch_id), err=True)
