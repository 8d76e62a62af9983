"""`reelq results`: the manifest again, with what came of each row."""

import io
import sys
from pathlib import Path

import click

from reelq.cli.exits import FAILED, OK
from reelq.cli.named import batch_named
from reelq.cli.queue import Queue
from reelq.cli.report import shown_path
from reelq.cli.whereabouts import of_sandbox, of_service, queue_of
from reelq.cli.wording import one_line
from reelq.results import Form, form_of, whole_file


@click.command("results")
@click.argument("batch")
@click.option("-o", "path", metavar="FILE", type=click.Path(path_type=Path), help="Write a file for a spreadsheet.")
@click.option(
    "--format", "form", type=click.Choice([*map(str, Form)]), help="By default FILE's ending tells; else csv."
)
@click.option(
    "--videos",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Also bring the finished videos from the service into this folder, those that are not there yet.",
)
@of_service
@of_sandbox
def command(
    batch: str, path: Path | None, form: str | None, folder: Path | None, api: str | None, sandbox: bool
) -> None:
    """Print the result manifest of BATCH: its own columns, then status, output, errors, advice, credits and words.

    With a service (--api), the videos are there until --videos brings them: cut off, the same command goes on.

    BATCH is an id or a piece of one, a manifest, or `last`.

    \b
    Example: reelq results last -o results.csv
    Exit code: 1 if not all finished videos could be brought.
    """
    with queue_of(batch_named, batch, sandbox=sandbox, api=api) as (queue, meant):
        whole = queue.bring_videos(meant.batch_id, folder) if folder else True
        _put(queue, meant.batch_id, path, Form(form) if form else None, quiet=folder is not None)
    sys.exit(OK if whole else FAILED)


def _put(queue: Queue, batch_id: str, path: Path | None, form: Form | None, *, quiet: bool) -> None:
    if path is not None:
        told = form or form_of(path)
        with whole_file(path, told) as file:
            queue.put_results(batch_id, file, told)
        click.echo(f"Written to {one_line(shown_path(path))}", err=True)
    elif form or not quiet:
        if isinstance(sys.stdout, io.TextIOWrapper):
            # As in a file, whatever the terminal's encoding and this system's line ends; programs want no mark.
            sys.stdout.reconfigure(encoding="utf-8", newline="")
        queue.put_results(batch_id, sys.stdout, form or Form.CSV)
        sys.stdout.flush()
