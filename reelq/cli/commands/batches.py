"""`reelq status`, `watch` and `results`: show batches, the progress of one, and its results."""

import io
import sys
from pathlib import Path

import click

from reelq.cli import sandbox_mode
from reelq.cli.backends.base import Queue
from reelq.cli.backends.local import OWNER, LocalQueue
from reelq.cli.errors import FAILED, INTERRUPTED, OK
from reelq.cli.targets import (
    api_option,
    open_queue,
    open_sandbox_or_real,
    resolve_batch,
    sandbox_option,
    service_address,
)
from reelq.cli.views.report import report, shown_path
from reelq.cli.views.text import aligned, format_time, plural, print_json, safe_line
from reelq.cli.views.watch import choose_view, follow
from reelq.job import FINAL, Status
from reelq.results import Form, atomic_file, form_of
from reelq.settings import Settings
from reelq.store.db.models import BatchState
from reelq.store.db.readonly import database_message, open_read_only
from reelq.store.queries.batch_status import Snapshot
from reelq.store.queries.lookup import BatchInList, count_batches

_HEADINGS = ("batch", "manifest", "rows", "done", "failed", "open", "credits", "", "created")


@click.command("status")
@click.argument("batch", required=False)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="Number of batches to list.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON Lines: one object per batch.")
@api_option
@sandbox_option
def status(batch: str | None, limit: int, as_json: bool, api: str | None, sandbox: bool) -> None:
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
        from reelq.cli.backends.http.queue import open_remote_queue

        with open_remote_queue(address, settings) as queue:
            _list(queue.newest_batches(limit), as_json=as_json)
        return
    with open_sandbox_or_real(settings, sandbox=sandbox) as local:
        _list(LocalQueue(local).newest_batches(limit), as_json=as_json)
    if not sandbox and (count := _count_sandbox_batches(settings)):
        batches = f"{plural(count, 'sandbox batch', 'sandbox batches')} {'is' if count == 1 else 'are'}"
        click.echo(f"{batches} not shown; use `reelq status --sandbox`.", err=True)


def _list(found: list[BatchInList], *, as_json: bool) -> None:
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
    try:
        with open_read_only(sandbox_mode.database_settings(settings)) as store:
            if store is None:
                return 0
            with store.read() as session:
                return count_batches(session, OWNER)
    except Exception as error:
        if not database_message(error):
            raise
        return 0


def _cells(item: BatchInList) -> tuple[str, ...]:
    open_rows = sum(count for row_status, count in item.counts.items() if row_status not in FINAL)
    counts = (item.total, item.counts[Status.SUCCEEDED], item.counts[Status.FAILED], open_rows, item.credits)
    numbers = [f"{count:,}" for count in counts]
    state = "" if item.state is BatchState.ACTIVE else str(item.state)
    return (item.id, safe_line(item.name), *numbers, state, format_time(item.created_at))


def _as_data(item: BatchInList) -> dict[str, object]:
    counts = {str(row_status): item.counts[row_status] for row_status in Status}
    names = {"batch": item.id, "name": item.name, "state": str(item.state)}
    return {**names, "created_at": item.created_at.isoformat(), "total": item.total, **counts, "credits": item.credits}


@click.command("watch")
@click.argument("batch")
@click.option("--json", "as_json", is_flag=True, help="Print JSON Lines: one event per line, then a summary.")
@api_option
@sandbox_option
def watch(batch: str, as_json: bool, api: str | None, sandbox: bool) -> None:
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
            with queue.watching(resolved.batch_id) as read:
                follow(read, choose_view(as_json=as_json), until=is_over)
        except KeyboardInterrupt:
            click.echo("Stopped watching; the batch continues.", err=True)
            sys.exit(INTERRUPTED)
        sys.exit(report(queue, resolved.batch_id, as_json=as_json))


@click.command("results")
@click.argument("batch")
@click.option(
    "-o", "path", metavar="FILE", type=click.Path(path_type=Path), help="Write to FILE instead of standard output."
)
@click.option(
    "--format",
    "form",
    type=click.Choice([*map(str, Form)]),
    help="Output format.  [default: by FILE's extension, else csv]",
)
@click.option(
    "--videos",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Also download finished videos from the service to this folder; existing files are skipped.",
)
@api_option
@sandbox_option
def results(
    batch: str, path: Path | None, form: str | None, folder: Path | None, api: str | None, sandbox: bool
) -> None:
    """Print the result manifest of BATCH: its own columns, then status, output, errors, advice, credits and replies.

    With a remote service (--api), download the videos with --videos; after an interruption, run the same command to
    continue.

    BATCH is an id or part of one, a manifest, or `last`.

    \b
    Example: reelq results last -o results.csv
    Exit code: 1 if not all finished videos could be downloaded.
    """
    with open_queue(resolve_batch, batch, sandbox=sandbox, api=api) as (queue, resolved):
        is_complete = queue.download_videos(resolved.batch_id, folder) if folder else True
        _write_results(queue, resolved.batch_id, path, Form(form) if form else None, quiet=folder is not None)
    sys.exit(OK if is_complete else FAILED)


def _write_results(queue: Queue, batch_id: str, path: Path | None, form: Form | None, *, quiet: bool) -> None:
    if path is not None:
        chosen = form or form_of(path)
        with atomic_file(path, chosen) as file:
            queue.write_results(batch_id, file, chosen)
        click.echo(f"Written to {safe_line(shown_path(path))}", err=True)
    elif form or not quiet:
        if isinstance(sys.stdout, io.TextIOWrapper):
            # The same bytes as in a file, whatever the terminal's encoding and line ends; but no BOM, for programs.
            sys.stdout.reconfigure(encoding="utf-8", newline="")
        queue.write_results(batch_id, sys.stdout, form or Form.CSV)
        sys.stdout.flush()
