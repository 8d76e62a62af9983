"""`reelq submit`: a manifest into the queue, and back to the prompt."""

from pathlib import Path

import click

from reelq.cli import handing_in
from reelq.cli.deployment import deployment
from reelq.cli.handing_in import Call
from reelq.cli.interrupts import begin
from reelq.cli.whereabouts import of_service, service_of
from reelq.settings import Settings
from reelq.store.orders import Order


@click.command("submit")
@handing_in.options
@of_service
def command(path: Path, api: str | None, **asked: object) -> None:
    """Hand MANIFEST to the queue, print the batch's id, and return. Workers take it from there.

    Handed in again, it goes on where it stands: rows that are done or under way are not run a second time.

    With a service (--api) the files go there first, each once and none that it has. There, each call is a batch of its
    own; rows that are done or under way in another one take its results, and cost nothing.

    \b
    Example: reelq submit jobs.csv --limit-credits 500
    Exit code: 0 if it is in the queue, 2 if the manifest is wrong.
    """
    call = Call(path, **asked)  # type: ignore[arg-type] # click gives what its options say
    settings = Settings.read()
    address = service_of(settings, api)
    if address:
        _refuse_what_is_of_here(call)
    order = handing_in.order_of(call, settings)
    begin()
    if address:
        _hand_over(address, settings, order, call)
    else:
        _hand_in(settings, order, call)


def _hand_in(settings: Settings, order: Order, call: Call) -> None:
    with deployment(settings) as made:
        done = handing_in.hand_in(made, order, call)
        click.echo(done.batch_id)
        if made.in_process:
            click.echo(f"No broker is configured: `reelq run {call.path}` works on it.", err=True)
        else:
            click.echo(f"`reelq watch {done.batch_id}` shows how it goes.", err=True)


def _hand_over(address: str, settings: Settings, order: Order, call: Call) -> None:
    from reelq.cli.away.handing_over import hand_over
    from reelq.cli.away.service import service_at

    with service_at(address, settings) as service:
        batch_id = hand_over(service, order, call)
    there = "" if address == settings.reelq_api_url else f" --api {address}"
    click.echo(batch_id)
    click.echo(f"`reelq watch {batch_id}{there}` shows how it goes;", err=True)
    click.echo(f"`reelq results {batch_id}{there} --videos DIR` brings the finished videos home.", err=True)


def _refuse_what_is_of_here(call: Call) -> None:
    if call.out is not None:
        raise click.UsageError(
            "--out is for work on this machine: `reelq results BATCH --videos DIR` brings videos home."
        )
    if call.retry_failed:
        raise click.UsageError("--retry-failed is for work on this machine: `reelq retry BATCH` tries again there.")
