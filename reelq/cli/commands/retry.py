"""`reelq retry`: queues failed rows again, from the stage that the error calls for."""

import click

from reelq.cli.targets import api_option, open_queue, resolve, sandbox_option
from reelq.cli.views.report import next_step
from reelq.cli.views.text import plural


@click.command("retry")
@click.argument("target", metavar="BATCH|JOB")
@api_option
@sandbox_option
def command(target: str, api: str | None, sandbox: bool) -> None:
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
            click.echo(
                f"Row {resolved.row} " + ("is queued again." if counts.done else "has not failed; nothing to retry.")
            )
        else:
            rest = f"; {plural(counts.not_so, 'row')} had not failed" if counts.not_so else ""
            click.echo(f"{plural(counts.done, 'row')} queued again{rest}.")
        if counts.done:
            click.echo(next_step(queue, resolved.batch_id), err=True)
