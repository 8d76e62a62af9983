"""`reelq status`: lists the batches, or shows the state of one."""

import click

from reelq.cli import sandbox_mode
from reelq.cli.backends.local import OWNER, LocalQueue
from reelq.cli.targets import (
    api_option,
    open_queue,
    open_sandbox_or_real,
    resolve_batch,
    sandbox_option,
    service_address,
)
from reelq.cli.views.lines import print_json
from reelq.cli.views.report import report
from reelq.cli.views.text import aligned, plural, safe_line
from reelq.job import FINAL, Status
from reelq.settings import Settings
from reelq.store.db.models import BatchState
from reelq.store.db.readonly import database_message, open_read_only
from reelq.store.queries.lookup import BatchInList, count_batches

_HEADINGS = ("batch", "manifest", "rows", "done", "failed", "open", "credits", "", "begun")


@click.command("status")
@click.argument("batch", required=False)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="Number of batches to list.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON Lines: one object per batch.")
@api_option
@sandbox_option
def command(batch: str | None, limit: int, as_json: bool, api: str | None, sandbox: bool) -> None:
    """List batches, newest first, or show the state of BATCH: where its rows are, and why rows failed or wait.

    BATCH is an id or part of one, a manifest, or `last`.

    \b
    Example: reelq status last
    """
    if batch is not None:
        with open_queue(resolve_batch, batch, sandbox=sandbox, api=api) as (queue, resolved):
            report(queue, resolved.batch_id, as_json=as_json, by_stage=True)
        return
    settings = Settings.read()
    if address := service_address(settings, api, sandbox=sandbox):
        from reelq.cli.backends.http.queue import open_remote_queue as away

        with away(address, settings) as queue:
            _show(queue.newest_batches(limit), as_json=as_json)
        return
    with open_sandbox_or_real(settings, sandbox=sandbox) as local:
        _show(LocalQueue(local).newest_batches(limit), as_json=as_json)
    if not sandbox and (count := _count_sandbox_batches(settings)):
        verb = "is" if count == 1 else "are"
        click.echo(
            f"{plural(count, 'sandbox batch', 'sandbox batches')} {verb} not shown; use `reelq status --sandbox`.",
            err=True,
        )


def _show(found: list[BatchInList], *, as_json: bool) -> None:
    if as_json:
        for item in found:
            print_json(_as_data(item))
    elif found:
        click.echo("\n".join(aligned([_HEADINGS, *map(_cells, found)], right=range(2, 7), indent="")))
    else:
        click.echo(
            "There are no batches yet. Create one with `reelq run MANIFEST` or `reelq submit MANIFEST`.", err=True
        )


def _count_sandbox_batches(settings: Settings) -> int:
    """How many batches the sandbox has; 0 if its database can't be read, for example as it has another version."""
    sandbox_settings = sandbox_mode.database_settings(settings)
    try:
        with open_read_only(sandbox_settings) as store:
            if store is None:
                return 0
            with store.read() as session:
                return count_batches(session, OWNER)
    except Exception as error:
        if not database_message(error):
            raise
        return 0


def _cells(item: BatchInList) -> tuple[str, ...]:
    counts = item.counts
    open_rows = sum(count for status, count in counts.items() if status not in FINAL)
    numbers = (item.total, counts[Status.SUCCEEDED], counts[Status.FAILED], open_rows, item.credits)
    state = "" if item.state is BatchState.ACTIVE else str(item.state)
    return (item.id, safe_line(item.name), *(f"{number:,}" for number in numbers), state, _format_time(item))


def _format_time(item: BatchInList) -> str:
    return f"{item.created_at.astimezone():%Y-%m-%d %H:%M}"


def _as_data(item: BatchInList) -> dict[str, object]:
    counts = {str(status): item.counts[status] for status in Status}
    names = {"batch": item.id, "name": item.name, "state": str(item.state)}
    return {**names, "created_at": item.created_at.isoformat(), "total": item.total, **counts, "credits": item.credits}
