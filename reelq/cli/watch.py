"""`reelq watch`: the live view of a batch that somebody works on."""

import sys

import click

from reelq.cli.deployment import OWNER, deployment
from reelq.cli.live import chosen, follow
from reelq.cli.named import batch_named
from reelq.cli.report import report
from reelq.store.overview import Snapshot


@click.command("watch")
@click.argument("batch")
@click.option("--json", "as_json", is_flag=True, help="JSON, for programs: every event, then an object that sums up.")
def command(batch: str, as_json: bool) -> None:
    """Watch BATCH until all its rows have ended or wait for you. Ctrl-C leaves the view; the work goes on.

    BATCH is an id or a piece of one, a manifest, or `last`.

    \b
    Example: reelq watch last
    Exit code: 0 if all rows succeeded, 1 if some failed, 3 if some wait for you, 130 if you left.
    """
    with deployment() as made:
        meant = batch_named(made.store, OWNER, batch)

        def is_over(seen: Snapshot) -> bool:
            return seen.at_rest or (made.in_process and not seen.tended)

        try:
            follow(made.store, meant.batch_id, chosen(as_json=as_json), until=is_over)
        except KeyboardInterrupt:
            click.echo("Left the view; whoever works on the batch goes on.", err=True)
            raise
        sys.exit(report(made.store, meant.batch_id, in_process=made.in_process, as_json=as_json))
