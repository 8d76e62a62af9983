"""`reelq results`: the manifest again, with what came of each row."""

import io
import sys
from pathlib import Path

import click

from reelq.cli.named import batch_named
from reelq.cli.report import shown_path
from reelq.cli.whereabouts import of_sandbox, whereabouts
from reelq.cli.wording import one_line
from reelq.results import Form, put_results, write_results


@click.command("results")
@click.argument("batch")
@click.option("-o", "path", metavar="FILE", type=click.Path(path_type=Path), help="Write a file for a spreadsheet.")
@click.option("--format", "form", type=click.Choice([*Form]), help="By default FILE's ending tells; else csv.")
@of_sandbox
def command(batch: str, path: Path | None, form: str | None, sandbox: bool) -> None:
    """Print the result manifest of BATCH: its own columns, then status, output, errors, advice, credits and words.

    BATCH is an id or a piece of one, a manifest, or `last`.

    \b
    Example: reelq results last -o results.csv
    """
    with whereabouts(batch_named, batch, sandbox=sandbox) as (made, meant):
        chosen = Form(form) if form else None
        if path is not None:
            write_results(made.store, meant.batch_id, path, chosen)
            click.echo(f"Written to {one_line(shown_path(path))}", err=True)
            return
        if isinstance(sys.stdout, io.TextIOWrapper):
            # As in a file, whatever the terminal's encoding and this system's line ends; programs want no mark.
            sys.stdout.reconfigure(encoding="utf-8", newline="")
        put_results(made.store, meant.batch_id, sys.stdout, chosen or Form.CSV)
        sys.stdout.flush()
