"""`reelq status`: the batches there are, or how one of them stands."""

import click

from reelq.cli.deployment import OWNER, deployment
from reelq.cli.lines import put_json
from reelq.cli.named import batch_named
from reelq.cli.report import report
from reelq.cli.wording import aligned, one_line
from reelq.job import FINAL, Status
from reelq.store.batchlist import Standing, standings
from reelq.store.models import BatchState

_HEADS = ("batch", "manifest", "rows", "done", "failed", "open", "credits", "", "begun")


@click.command("status")
@click.argument("batch", required=False)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="How many batches to list.")
@click.option("--json", "as_json", is_flag=True, help="JSON, for programs: an object a line.")
def command(batch: str | None, limit: int, as_json: bool) -> None:
    """List the batches, the newest first; or say how BATCH stands: where its rows are, and what stopped them.

    BATCH is an id or a piece of one, a manifest, or `last`.

    \b
    Example: reelq status last
    """
    with deployment() as made:
        if batch is not None:
            meant = batch_named(made.store, OWNER, batch)
            report(made.store, meant.batch_id, in_process=made.in_process, as_json=as_json, by_stage=True)
            return
        with made.store.read() as session:
            found = standings(session, OWNER, limit)
    if as_json:
        for one in found:
            put_json(_data(one))
    elif found:
        click.echo("\n".join(aligned([_HEADS, *map(_cells, found)], right=range(2, 7), indent="")))
    else:
        click.echo("There is no batch yet: `reelq run MANIFEST` makes one.", err=True)


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
