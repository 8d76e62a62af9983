"""`reelq check`: everything that is wrong with a manifest, at once, the way a compiler tells it; and its cost."""

import sys
from collections import Counter
from pathlib import Path

import click

from reelq import manifest
from reelq.cli import handing_in
from reelq.cli.asking import funds
from reelq.cli.deployment import OWNER
from reelq.cli.exits import OK, WRONG_CALL
from reelq.cli.faults import show_findings
from reelq.cli.foretelling import cost_of, in_words, told
from reelq.cli.handing_in import Call
from reelq.cli.wording import many
from reelq.settings import Settings
from reelq.store import schema, submissions
from reelq.store.batchlist import how_many
from reelq.store.estimates import estimate_rows
from reelq.store.looking import looking, trouble
from reelq.store.orders import Fate, Order, Plan


@click.command("check")
@click.argument("path", metavar="MANIFEST", type=click.Path(path_type=Path))
@handing_in.out_option
@handing_in.skill_option
def command(path: Path, out: Path | None, skill: str) -> None:
    """Check MANIFEST without running it: every fault and every warning, with line and column; and what it would cost.

    The cost is that of the rows that `reelq run` would send now, reckoned from what the account has paid so far, else
    from what is usual.

    \b
    Example: reelq check jobs.csv
    Exit code: 0 if it can run, 2 if it can't.
    """
    settings, call = Settings.read(), Call(path, out=out, skill=skill)
    checked = handing_in.checked_by(call, settings)
    show_findings(path, checked)
    _sum_up(checked)
    if not checked.faults:
        _foretell(handing_in.as_order(call, checked), settings)
    sys.exit(WRONG_CALL if checked.faults else OK)


def _sum_up(checked: manifest.Checked) -> None:
    warnings = many(len(checked.warnings), "warning")
    if checked.faults:
        click.echo(f"{many(len(checked.faults), 'fault')}, {warnings}: it can't run.")
        return
    routes = ", ".join(f"{count} {route}" for route, count in Counter(row.route for row in checked.rows).items())
    click.echo(f"{many(len(checked.rows), 'row')} ({routes}), {warnings}: it can run.")


def _foretell(order: Order, settings: Settings) -> None:
    plan, there = _plan(order, settings), funds(settings)
    if plan is None:
        click.echo(in_words(estimate_rows(order.rows, highest=there.highest), there))
        return
    if plan.count(Fate.NEW) < len(plan.fates):
        for line in told(plan):
            click.echo(line)
    for line in cost_of(plan, order.rows, there):
        click.echo(line)


def _plan(order: Order, settings: Settings) -> Plan | None:
    """What is known of the rows; None where nothing is, and so all of them would be sent. Nothing is written."""
    try:
        with looking(settings) as store:
            if store is None or not schema.is_current(store):
                return None
            with store.read() as session:
                anything = how_many(session, OWNER)
            return submissions.plan(store, order, service=settings.nemo_api_url) if anything else None
    except Exception as error:
        if not (why := trouble(error)):
            raise
        click.echo(f"The database does not answer ({why}): the cost is that of all rows, done before or not.", err=True)
        return None
