"""Turns a manifest on the command line into a batch: check it, show what it will do and cost, confirm, submit."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from reelq import skills
from reelq.cli import sandbox_mode
from reelq.cli.backends.local import OWNER, Deployment
from reelq.cli.errors import OK
from reelq.cli.estimate import describe_plan, describe_plan_cost, read_funds
from reelq.cli.views.text import plural, show_findings
from reelq.cli.views.watch import is_interactive
from reelq.errors import ManifestError
from reelq.manifest import checks
from reelq.settings import Settings
from reelq.store.billing import accounts
from reelq.store.jobs import retries
from reelq.store.queries.account import check_key
from reelq.store.submission import submitter
from reelq.store.submission.request import Plan, Submission
from reelq.store.submission.submitter import Submitted

RESULTS: Final = Path("reelq-out")
"""The default parent of output folders; each is named after its manifest."""
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class SubmitOptions:
    """The arguments and options of the command line."""

    path: Path
    out: Path | None = None
    skill: str = checks.DEFAULT_SKILL
    first: int | None = None
    limit_credits: int | None = None
    retry_failed: bool = False
    yes: bool = False
    sandbox: bool = False


out_option: Final = click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help=f"Output folder for the videos.  [default: {RESULTS}/<the manifest's name>]",
)
skill_option: Final = click.option(
    "--skill", default=checks.DEFAULT_SKILL, show_default=True, help="Skill for rows that do not name one."
)
_OPTIONS: Final = (
    click.argument("path", metavar="MANIFEST", type=click.Path(path_type=Path)),
    out_option,
    skill_option,
    click.option(
        "--first",
        metavar="N",
        type=click.IntRange(1),
        help="Run the first N rows only; `reelq resume` releases the rest.",
    ),
    click.option(
        "--limit-credits", metavar="N", type=click.IntRange(0), help="Spend no more than N credits on this batch."
    ),
    click.option("--retry-failed", is_flag=True, help="Also run rows that failed before."),
    click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation before credits can be spent."),
)


def options(command: F) -> F:
    """Add the argument and the options that `run` and `submit` share."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def check_and_build(call: SubmitOptions, settings: Settings) -> Submission:
    """Check the manifest and build the order. Shows every fault, and raises if there is one."""
    checked = check_manifest(call, settings)
    show_findings(call.path, checked, err=True)
    if checked.faults:
        raise manifest_error(checked)
    return build_submission(call, checked)


def check_manifest(call: SubmitOptions, settings: Settings) -> checks.Checked:
    """Check the manifest against the available skills."""
    known = skills.load([settings.reelq_data_dir / "skills"])
    known.named(call.skill)  # raises for an unknown skill before the manifest is read
    for note in known.notes:
        click.echo(note, err=True)
    return checks.check_file(call.path, skills=known, default_skill=call.skill)


def build_submission(call: SubmitOptions, checked: checks.Checked) -> Submission:
    """Build the order from a manifest without faults and the options of the command line."""
    path = call.path.absolute()
    return Submission(
        owner=OWNER,
        name=path.name,
        source=path.parent.resolve(),
        out=(call.out or RESULTS / path.stem).absolute(),
        rows=checked.rows,
        columns=checked.columns,
        limit_credits=call.limit_credits,
        first=call.first,
        options={"form": checked.form},
        retry_failed=call.retry_failed,
    )


def manifest_error(checked: checks.Checked) -> ManifestError:
    """The error that ends a command whose manifest has faults. The faults have been shown already."""
    error = ManifestError(list(checked.faults))
    error.args = (f"{plural(len(checked.faults), 'fault')} in the manifest; nothing was run",)
    error.advice = "Run `reelq check` to see them again."
    return error


def submit(local: Deployment, order: Submission, call: SubmitOptions) -> Submitted:
    """Show what the order will do, ask for confirmation if it can cost something, and submit it.

    The cost is shown before the question. If nobody is asked, it is shown after submitting: reading the balance takes
    a request to the service, and rows should not wait for that.
    """
    service = sandbox_mode.SERVICE if call.sandbox else local.settings.nemo_api_url
    if not call.sandbox:  # the sandbox issues tokens of its own
        check_key(local.store, local.settings)  # otherwise every row would fail on its own
    plan = submitter.plan(local.store, order, service=service)
    for line in describe_plan(plan):
        click.echo(line, err=True)
    can_cost = bool(plan.sends) and not call.sandbox
    asks = not call.yes and is_interactive()
    if can_cost and asks:
        _show_cost(local, order, plan, call)
        confirm(yes=call.yes)
    account_id = accounts.account_for(local.store, local.vault, local.settings)
    submitted = submitter.submit(local.store, order, service=service, account_id=account_id)
    if call.sandbox:
        with local.store.write() as session:
            retries.restart_on_account(session, account_id, submitted.batch_id, local.store.now(session))
    for older in submitted.plan.left_behind:
        verb, pronoun = ("is", "it") if older.rows == 1 else ("are", "them")
        click.echo(
            f"{plural(older.rows, 'row')} of {older.batch_id} {verb} unfinished and no longer in the manifest; "
            f"run `reelq cancel {older.batch_id}` to drop {pronoun}.",
            err=True,
        )
    if can_cost and not asks:
        _show_cost(local, order, plan, call)
    warn_if_broker_is_down(local)
    return submitted


def warn_if_broker_is_down(local: Deployment) -> None:
    """Warn if the broker is down: the rows are safe in the database, but no worker hears of them until it is back."""
    broker_url = local.settings.reelq_broker_url
    if broker_url is None:
        return
    from reelq.cli.doctor.network import broker_error  # slow; workers may start on the rows meanwhile

    if why := broker_error(broker_url.get_secret_value()):
        advice = "The rows are queued; workers start on them when it is back."
        click.echo(f"The broker does not respond ({why}). {advice}", err=True)


def _show_cost(local: Deployment, order: Submission, plan: Plan, call: SubmitOptions) -> None:
    for line in describe_plan_cost(plan, order.rows, read_funds(local.settings)):
        click.echo(line, err=True)
    show_limit(call)


def show_limit(call: SubmitOptions) -> None:
    """Show the limit of the cost, if there is one."""
    if call.limit_credits is not None:
        click.echo(f"No more than {plural(call.limit_credits, 'credit')} will be spent (--limit-credits).", err=True)


def confirm(*, yes: bool) -> None:
    """On a terminal, ask for confirmation before credits are spent, unless `yes` is set; exit if the user declines."""
    if not yes and is_interactive() and not click.confirm("Continue?", default=True, err=True):
        click.echo("Nothing was run, nothing was spent.", err=True)
        raise click.exceptions.Exit(OK)
