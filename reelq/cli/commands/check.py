"""`reelq check`: reports everything that is wrong with a manifest at once, as a compiler does, and its cost."""

import sys
from collections import Counter
from pathlib import Path

import click

from reelq.cli import submit
from reelq.cli.backends.local import OWNER
from reelq.cli.errors import USAGE_ERROR
from reelq.cli.estimate import describe_cost, describe_plan, describe_plan_cost, read_funds
from reelq.cli.submit import SubmitOptions
from reelq.cli.views.text import plural, show_findings
from reelq.settings import Settings
from reelq.store.billing.spending import estimate_rows
from reelq.store.db import migrations
from reelq.store.db.readonly import database_message, open_read_only
from reelq.store.queries.lookup import count_batches
from reelq.store.submission import submitter
from reelq.store.submission.request import Plan, RowAction, Submission


@click.command("check")
@click.argument("path", metavar="MANIFEST", type=click.Path(path_type=Path))
@submit.out_option
@submit.skill_option
def command(path: Path, out: Path | None, skill: str) -> None:
    """Check MANIFEST without running it: list every fault and warning with line and column, and estimate the cost.

    The estimate covers the rows that `reelq run` would send now, based on what the account has paid so far, or on
    typical cost.

    \b
    Example: reelq check jobs.csv
    Exit code: 0 if it can run, 2 if it can't.
    """
    settings, call = Settings.read(), SubmitOptions(path, out=out, skill=skill)
    checked = submit.check_manifest(call, settings)
    show_findings(path, checked)
    warnings = plural(len(checked.warnings), "warning")
    if checked.faults:
        click.echo(f"{plural(len(checked.faults), 'fault')}, {warnings}: can't run.")
        sys.exit(USAGE_ERROR)
    routes = ", ".join(f"{count} {route}" for route, count in Counter(row.route for row in checked.rows).items())
    click.echo(f"{plural(len(checked.rows), 'row')} ({routes}), {warnings}: ready to run.")
    _show_estimate(submit.build_submission(call, checked), settings)


def _show_estimate(order: Submission, settings: Settings) -> None:
    plan, balance = _plan(order, settings), read_funds(settings)
    if plan is None:
        click.echo(describe_cost(estimate_rows(order.rows, highest=balance.highest), balance))
        return
    if plan.count(RowAction.NEW) < len(plan.actions):
        for line in describe_plan(plan):
            click.echo(line)
    for line in describe_plan_cost(plan, order.rows, balance):
        click.echo(line)


def _plan(order: Submission, settings: Settings) -> Plan | None:
    """The plan for the rows; None if the database knows no batch, so that all rows would be sent. Writes nothing."""
    try:
        with open_read_only(settings) as store:
            if store is None or not migrations.is_current(store):
                return None
            with store.read() as session:
                batch_count = count_batches(session, OWNER)
            return submitter.plan(store, order, service=settings.nemo_api_url) if batch_count else None
    except Exception as error:
        if not (why := database_message(error)):
            raise
        note = "the estimate covers all rows, including finished ones"
        click.echo(f"The database does not respond ({why}): {note}.", err=True)
        return None
