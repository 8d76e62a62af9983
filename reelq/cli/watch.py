"""`reelq watch`: the live view of a batch that somebody works on."""

import sys

import click

from reelq.cli.exits import INTERRUPTED
from reelq.cli.live import chosen, follow_by
from reelq.cli.named import batch_named
from reelq.cli.report import report
from reelq.cli.whereabouts import of_sandbox, of_service, queue_of
from reelq.store.overview import Snapshot


@click.command("watch")
@click.argument("batch")
@click.option("--json", "as_json", is_flag=True, help="JSON, for programs: every event, then an object that sums up.")
@of_service
@of_sandbox
def command(batch: str, as_json: bool, api: str | None, sandbox: bool) -> None:
    """Watch BATCH until all its rows have ended or wait for you. Ctrl-C leaves the view; the work goes on.

    BATCH is an id or a piece of one, a manifest, or `last`.

    \b
    Example: reelq watch last
    Exit code: 0 if all rows succeeded, 1 if some failed, 3 if some wait for you, 130 if you left.
    """
    with queue_of(batch_named, batch, sandbox=sandbox, api=api) as (queue, meant):

        def is_over(seen: Snapshot) -> bool:
            return seen.at_rest or (queue.in_process and not seen.tended)

        try:
            with queue.watching(meant.batch_id) as look:
                follow_by(look, chosen(as_json=as_json), until=is_over)
        except KeyboardInterrupt:
            click.echo("Left the view; whoever works on the batch goes on.", err=True)
            sys.exit(INTERRUPTED)
        sys.exit(report(queue, meant.batch_id, as_json=as_json))
