"""`reelq results`: the manifest with the result of each row."""

import io
import sys
from pathlib import Path

import click

from reelq.cli.backends.base import Queue
from reelq.cli.errors import FAILED, OK
from reelq.cli.targets import api_option, open_queue, resolve_batch, sandbox_option
from reelq.cli.views.report import shown_path
from reelq.cli.views.text import safe_line
from reelq.results import Form, atomic_file, form_of


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
def command(
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
        _write(queue, resolved.batch_id, path, Form(form) if form else None, quiet=folder is not None)
    sys.exit(OK if is_complete else FAILED)


def _write(queue: Queue, batch_id: str, path: Path | None, form: Form | None, *, quiet: bool) -> None:
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
