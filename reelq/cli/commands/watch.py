"""`reelq watch`: the live view of a batch in progress."""

import sys

import click

from reelq.cli.errors import INTERRUPTED
from reelq.cli.targets import api_option, open_queue, resolve_batch, sandbox_option
from reelq.cli.views.report import report
from reelq.cli.views.watch import choose_view, follow_with
from reelq.store.queries.batch_status import Snapshot


@click.command("watch")
@click.argument("batch")
@click.option("--json", "as_json", is_flag=True, help="Print JSON Lines: one event per line, then a summary.")
@api_option
@sandbox_option
def command(batch: str, as_json: bool, api: str | None, sandbox: bool) -> None:
    """Watch BATCH until all its rows have ended or wait for you. Ctrl-C stops watching; the work continues.

    BATCH is an id or part of one, a manifest, or `last`.

    \b
    Example: reelq watch last
    Exit code: 0 if all rows succeeded, 1 if some failed, 3 if some wait for you, 130 if you stop watching.
    """
    with open_queue(resolve_batch, batch, sandbox=sandbox, api=api) as (queue, resolved):

        def is_over(snapshot: Snapshot) -> bool:
            return snapshot.at_rest or (queue.in_process and not snapshot.tended)

        try:
            with queue.watching(resolved.batch_id) as look:
                follow_with(look, choose_view(as_json=as_json), until=is_over)
        except KeyboardInterrupt:
            click.echo("Stopped watching; the batch continues.", err=True)
            sys.exit(INTERRUPTED)
        sys.exit(report(queue, resolved.batch_id, as_json=as_json))
