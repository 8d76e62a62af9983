"""`reelq run`: turns a manifest into finished videos, in this process or with running workers."""

import logging
from contextlib import nullcontext, suppress
from pathlib import Path

import click

from reelq import logs
from reelq.cli import sandbox_mode, submit
from reelq.cli.backends.local import LocalQueue, open_deployment
from reelq.cli.errors import INTERRUPTED
from reelq.cli.local_run import Stop, follow_to_end, handle_stop_signals
from reelq.cli.submit import SubmitOptions
from reelq.cli.views.report import report
from reelq.results import write_beside_videos
from reelq.settings import Settings
from reelq.store.submission.request import Submission
from worker.process import exit_now


@click.command("run")
@submit.options
@click.option("--sandbox", is_flag=True, help="Use a local simulation of the service: no account, no credits.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON Lines: one event per line, then a summary.")
def command(path: Path, as_json: bool, **options: object) -> None:
    """Run MANIFEST: check it, confirm, process its rows, and write the videos and results.csv to a folder.

    Run it again to continue: finished rows are skipped, new and changed rows are run. That also works after Ctrl-C,
    which stops cleanly, or a power failure. Without a broker (REELQ_BROKER_URL), this process does all the work.

    \b
    Example: reelq run jobs.csv --first 3
    Exit code: 0 all rows succeeded, 1 some failed, 2 the manifest is wrong and nothing ran,
    3 rows wait for you, 130 interrupted.
    """
    call = SubmitOptions(path, **options)  # type: ignore[arg-type] # click passes what the options declare
    settings = Settings.read()
    logs.set_up(settings.reelq_log_format, logging.ERROR)
    order = submit.check_and_build(call, settings)  # before anything is started
    stop = Stop()
    with handle_stop_signals(stop):
        try:
            code = _run(call, settings, order, stop, as_json=as_json)
        except (KeyboardInterrupt, click.Abort):  # click raises Abort during a prompt
            code = INTERRUPTED
        if stop.asked or code == INTERRUPTED:
            code, stop.asked = INTERRUPTED, True
            outcome = f"nothing is lost. Continue with `{_same_command(call)}`" if stop.submitted else "nothing was run"
            click.echo(f"\nInterrupted; {outcome}.", err=True)
        exit_now(code)  # a thread that waits on a silent stream would delay a normal exit


def _run(call: SubmitOptions, settings: Settings, order: Submission, stop: Stop, *, as_json: bool) -> int:
    service = sandbox_mode.sandbox(settings) if call.sandbox else nullcontext(settings)
    with service as effective, open_deployment(effective, is_sandbox=call.sandbox) as local:
        batch_id = submit.submit(local, order, call).batch_id
        stop.submitted = True
        with suppress(KeyboardInterrupt):
            follow_to_end(local, batch_id, stop, as_json=as_json)
        results = write_beside_videos(local.store, batch_id)
        return report(LocalQueue(local), batch_id, as_json=as_json, results=results)


def _same_command(call: SubmitOptions) -> str:
    return f"reelq run {call.path}{f' --out {call.out}' if call.out else ''}{' --sandbox' if call.sandbox else ''}"
