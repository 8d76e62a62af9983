"""`reelq submit`: submits a manifest to the queue and returns."""

from pathlib import Path

import click

from reelq.cli import submit
from reelq.cli.backends.local import open_deployment
from reelq.cli.interrupts import raise_on_interrupt
from reelq.cli.submit import SubmitOptions
from reelq.cli.targets import api_option, service_address
from reelq.settings import Settings
from reelq.store.submission.request import Submission


@click.command("submit")
@submit.options
@api_option
def command(path: Path, api: str | None, **options: object) -> None:
    """Submit MANIFEST to the queue, print the batch id, and return. Workers process it.

    Submit it again to continue: rows that are done or in progress are not run a second time.

    With a remote service (--api), files that the service lacks are uploaded first. Each call creates a new batch there;
    rows that are done or in progress in another batch reuse its results at no cost.

    \b
    Example: reelq submit jobs.csv --limit-credits 500
    Exit code: 0 if it is queued, 2 if the manifest has faults.
    """
    call = SubmitOptions(path, **options)  # type: ignore[arg-type] # click passes what the options declare
    settings = Settings.read()
    address = service_address(settings, api)
    if address and call.out is not None:
        raise click.UsageError(
            "--out can't be used with a remote service: download videos with `reelq results BATCH --videos DIR`."
        )
    if address and call.retry_failed:
        raise click.UsageError("--retry-failed can't be used with a remote service: use `reelq retry BATCH`.")
    order = submit.check_and_build(call, settings)
    raise_on_interrupt()
    if address:
        _submit_to_service(address, settings, order, call)
    else:
        _submit_locally(settings, order, call)


def _submit_locally(settings: Settings, order: Submission, call: SubmitOptions) -> None:
    with open_deployment(settings) as local:
        submitted = submit.submit(local, order, call)
        click.echo(submitted.batch_id)
        if local.in_process:
            click.echo(f"No broker is configured: run `reelq run {call.path}` to process it here.", err=True)
        else:
            click.echo(f"Follow it with `reelq watch {submitted.batch_id}`.", err=True)


def _submit_to_service(address: str, settings: Settings, order: Submission, call: SubmitOptions) -> None:
    from reelq.cli.backends.http.client import service_at
    from reelq.cli.backends.http.submit import submit_batch

    with service_at(address, settings) as service:
        batch_id = submit_batch(service, order, call)
    target = batch_id if address == settings.reelq_api_url else f"{batch_id} --api {address}"
    click.echo(batch_id)
    click.echo(f"Follow it with `reelq watch {target}`.", err=True)
    click.echo(f"Download the videos with `reelq results {target} --videos DIR`.", err=True)
