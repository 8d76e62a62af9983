"""`reelq refine`: sends the agent another instruction for a row, in the session where it left off."""

from contextlib import suppress
from pathlib import Path

import click

from reelq.cli.backends.local import Deployment, LocalQueue
from reelq.cli.errors import INTERRUPTED
from reelq.cli.estimate import describe_cost, read_funds
from reelq.cli.local_run import Stop, follow_to_end, handle_stop_signals
from reelq.cli.submit import confirm, warn_if_broker_is_down
from reelq.cli.targets import open_local, resolve_job
from reelq.cli.views.report import report, shown_path
from reelq.cli.views.text import safe_line, safe_lines
from reelq.errors import CannotRefine
from reelq.store.billing.spending import estimate
from reelq.store.commands import refine_row, would_send
from reelq.store.queries.batch_status import snapshot
from reelq.store.queries.lookup import Target
from reelq.store.queries.rows import all_rows
from worker.process import exit_now


@click.command("refine")
@click.argument("job")
@click.argument("instruction")
@click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation before credits can be spent.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON Lines: one event per line, then a summary.")
def command(job: str, instruction: str, yes: bool, as_json: bool) -> None:
    """Send the agent another INSTRUCTION in the session of JOB; the result is a new video beside the first.

    Use it also to answer a question of the agent. JOB is a row's id, or BATCH:ROW. With a broker, a worker runs it;
    without one, this process does, and the same command continues after an interruption.

    \b
    Example: reelq refine last:3 "Make the title yellow"
    Exit code: as for `reelq run`; with a broker, 0 once it is queued.
    """
    with open_local(resolve_job, job) as (local, resolved):
        batch_id = _submit(local, resolved, instruction, yes=yes)
        if not local.in_process:
            click.echo(batch_id)
            click.echo(f"Queued; follow it with `reelq watch {batch_id}`.", err=True)
            warn_if_broker_is_down(local)
            return
        code = _run_batch(local, batch_id, as_json=as_json)
    exit_now(code)  # a thread that waits on a silent stream would delay a normal exit


def _submit(local: Deployment, resolved: Target, instruction: str, *, yes: bool) -> str:
    if local.is_sandbox:
        raise CannotRefine(
            f"Row {resolved.row} was run with a sandbox that has ended, and its session is lost",
            "Change the row in its manifest and run it again with --sandbox.",
        )
    if would_send(local.store, resolved.job_id, instruction):
        balance = read_funds(local.settings)
        click.echo(describe_cost(estimate(1, highest=balance.highest), balance), err=True)
        confirm(yes=yes)
    batch_id, is_new = refine_row(local.store, resolved.job_id, instruction)
    if not is_new:
        click.echo("The same refinement is already in progress; continuing it.", err=True)
    return batch_id


def _run_batch(local: Deployment, batch_id: str, *, as_json: bool) -> int:
    stop = Stop()
    with handle_stop_signals(stop):
        with suppress(KeyboardInterrupt):
            follow_to_end(local, batch_id, stop, as_json=as_json)
        with local.store.read() as session:
            folder = Path(snapshot(session, batch_id, local.store.now(session), shown=0).out)
        code = report(LocalQueue(local), batch_id, as_json=as_json, results=folder)
        if not as_json:
            _show_result(local, batch_id, folder)
    if stop.asked:
        click.echo("\nInterrupted; nothing is lost. Run the same command to continue.", err=True)
        return INTERRUPTED
    return code


def _show_result(local: Deployment, batch_id: str, folder: Path) -> None:
    for row in all_rows(local.store, batch_id):
        if row.result_path:
            click.echo(f"Its video: {safe_line(shown_path(folder / row.result_path))}")
        if row.reply:
            click.echo("The agent says:")
            click.echo("\n".join(f"  {line}" for line in safe_lines(row.reply)))
