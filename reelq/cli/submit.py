"""`reelq submit`: a manifest into the queue, and back to the prompt."""

from pathlib import Path

import click

from reelq.cli import handing_in
from reelq.cli.deployment import deployment
from reelq.cli.handing_in import Call
from reelq.cli.interrupts import begin
from reelq.settings import Settings


@click.command("submit")
@handing_in.options
def command(path: Path, **asked: object) -> None:
    """Hand MANIFEST to the queue, print the batch's id, and return. Workers take it from there.

    Handed in again, it goes on where it stands: rows that are done or under way are not run a second time.

    \b
    Example: reelq submit jobs.csv --limit-credits 500
    Exit code: 0 if it is in the queue, 2 if the manifest is wrong.
    """
    call = Call(path, **asked)  # type: ignore[arg-type] # click gives what its options say
    settings = Settings.read()
    order = handing_in.order_of(call, settings)
    begin()
    with deployment(settings) as made:
        done = handing_in.hand_in(made, order, call)
        click.echo(done.batch_id)
        if made.in_process:
            click.echo(f"No broker is configured: `reelq run {path}` works on it.", err=True)
        else:
            click.echo(f"`reelq watch {done.batch_id}` shows how it goes.", err=True)
