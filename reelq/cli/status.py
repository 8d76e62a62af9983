"""`reelq status`: the batches there are, or how one of them stands."""

import click

from reelq.cli import play
from reelq.cli.deployment import OWNER
from reelq.cli.here import Here
from reelq.cli.lines import put_json
from reelq.cli.named import batch_named
from reelq.cli.report import report
from reelq.cli.whereabouts import of_sandbox, of_service, opened, queue_of, service_of
from reelq.cli.wording import aligned, many, one_line
from reelq.job import FINAL, Status
from reelq.settings import Settings
from reelq.store.batchlist import Standing, how_many
from reelq.store.looking import looking, trouble
from reelq.store.models import BatchState

_HEADS = ("batch", "manifest", "rows", "done", "failed", "open", "credits", "", "begun")


@click.command("status")
@click.argument("batch", required=False)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="How many batches to list.")
@click.option("--json", "as_json", is_flag=True, help="JSON, for programs: an object a line.")
@of_service
@of_sandbox
def command(batch: str | None, limit: int, as_json: bool, api: str | None, sandbox: bool) -> None:
    """List the batches, the newest first; or say how BATCH stands: where its rows are, and what stopped them.

    BATCH is an id or a piece of one, a manifest, or `last`.

    \b
    Example: reelq status last
    """
    if batch is not None:
        with queue_of(batch_named, batch, sandbox=sandbox, api=api) as (queue, meant):
            report(queue, meant.batch_id, as_json=as_json, by_stage=True)
        return
    settings = Settings.read()
    if address := service_of(settings, api, sandbox=sandbox):
        from reelq.cli.away.queue import away

        with away(address, settings) as queue:
            _show(queue.standings(limit), as_json=as_json)
        return
    with opened(settings, sandbox=sandbox) as made:
        _show(Here(made).standings(limit), as_json=as_json)
    if not sandbox and (others := _of_play(settings)):
        verb = "is" if others == 1 else "are"
        click.echo(
            f"Beside these there {verb} {many(others, 'batch', 'batches')} of the sandbox: `reelq status --sandbox`.",
            err=True,
        )


def _show(found: list[Standing], *, as_json: bool) -> None:
    if as_json:
        for one in found:
            put_json(_data(one))
    elif found:
        click.echo("\n".join(aligned([_HEADS, *map(_cells, found)], right=range(2, 7), indent="")))
    else:
        click.echo("There is no batch yet: `reelq run MANIFEST` or `reelq submit MANIFEST` makes one.", err=True)


def _of_play(settings: Settings) -> int:
    """How many batches were run with the sandbox; that database is only looked at, and may be of another version."""
    told = play.kept(settings)
    try:
        with looking(told) as store:
            if store is None:
                return 0
            with store.read() as session:
                return how_many(session, OWNER)
    except Exception as error:
        if not trouble(error):
            raise
        return 0


def _cells(one: Standing) -> tuple[str, ...]:
    batch, counts = one.batch, one.counts
    open_rows = sum(count for status, count in counts.items() if status not in FINAL)
    numbers = (counts.total(), counts[Status.SUCCEEDED], counts[Status.FAILED], open_rows, one.credits)
    state = "" if batch.state is BatchState.ACTIVE else str(batch.state)
    return (batch.id, one_line(batch.name), *(f"{number:,}" for number in numbers), state, _day(one))


def _day(one: Standing) -> str:
    return f"{one.batch.created_at.astimezone():%Y-%m-%d %H:%M}"


def _data(one: Standing) -> dict[str, object]:
    batch = one.batch
    counts = {str(status): one.counts[status] for status in Status}
    names = {"batch": batch.id, "name": batch.name, "state": str(batch.state)}
    numbers = {"total": one.counts.total(), **counts, "credits": one.credits}
    return {**names, "created_at": batch.created_at.isoformat(), **numbers}
