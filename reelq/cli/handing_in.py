"""From a manifest on the command line to a batch in the queue: check it, say what it will do and cost, ask, submit."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from reelq import manifest, skills
from reelq.cli import play
from reelq.cli.asking import funds
from reelq.cli.deployment import OWNER, Deployment
from reelq.cli.exits import OK
from reelq.cli.faults import show_findings
from reelq.cli.foretelling import cost_of, told
from reelq.cli.live import is_interactive
from reelq.cli.wording import many
from reelq.errors import ManifestError
from reelq.settings import Settings
from reelq.store import accounts, submissions
from reelq.store.orders import Order, Plan
from reelq.store.standing import check_key
from reelq.store.submissions import Submitted

RESULTS: Final = Path("reelq-out")
"""Where results go that nobody gives another folder: below it, in one of the manifest's name."""

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Call:
    """What was asked for on the command line."""

    path: Path
    out: Path | None = None
    skill: str = manifest.DEFAULT_SKILL
    first: int | None = None
    limit_credits: int | None = None
    retry_failed: bool = False
    yes: bool = False
    sandbox: bool = False

    @property
    def service(self) -> str | None:
        """What rows' keys call the service, where that is not its address."""
        return play.SERVICE if self.sandbox else None


out_option: Final = click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help=f"Where the videos go.  [default: {RESULTS}/<the manifest's name>]",
)
skill_option: Final = click.option(
    "--skill", default=manifest.DEFAULT_SKILL, show_default=True, help="The skill of rows that name none."
)


def options(command: F) -> F:
    """The argument and the options that `run` and `submit` share."""
    for option in reversed(
        (
            click.argument("path", metavar="MANIFEST", type=click.Path(path_type=Path)),
            out_option,
            skill_option,
            click.option(
                "--first",
                metavar="N",
                type=click.IntRange(min=1),
                help="Run the first N rows only; `reelq resume` releases the rest.",
            ),
            click.option(
                "--limit-credits",
                metavar="N",
                type=click.IntRange(min=0),
                help="Spend no more than N credits on this batch.",
            ),
            click.option("--retry-failed", is_flag=True, help="Run rows again that failed before."),
            click.option("--yes", "-y", is_flag=True, help="Do not ask before credits can be spent."),
        )
    ):
        command = option(command)
    return command


def order_of(call: Call, settings: Settings) -> Order:
    """The manifest, checked: every fault is shown, and one is enough to run nothing."""
    checked = checked_by(call, settings)
    show_findings(call.path, checked, err=True)
    if checked.faults:
        raise refused(checked)
    return as_order(call, checked)


def checked_by(call: Call, settings: Settings) -> manifest.Checked:
    """What is wrong with the manifest, by the skills that there are."""
    known = skills.load([settings.reelq_data_dir / "skills"])
    known.named(call.skill)  # which is refused, if at all, before the manifest is read
    for note in known.notes:
        click.echo(note, err=True)
    return manifest.check_file(call.path, skills=known, default_skill=call.skill)


def as_order(call: Call, checked: manifest.Checked) -> Order:
    """A manifest without a fault, with what was asked for beside it."""
    place = call.path.absolute()
    return Order(
        owner=OWNER,
        name=place.name,
        source=place.parent.resolve(),
        out=(call.out or RESULTS / place.stem).absolute(),
        rows=checked.rows,
        columns=checked.columns,
        limit_credits=call.limit_credits,
        first=call.first,
        options={"form": checked.form},
        retry_failed=call.retry_failed,
    )


def refused(checked: manifest.Checked) -> ManifestError:
    """What ends a command whose manifest has faults: they were shown before."""
    error = ManifestError(list(checked.faults))
    error.args = (f"{many(len(checked.faults), 'fault')} in the manifest; nothing was run",)
    error.advice = "`reelq check` shows them again."
    return error


def hand_in(made: Deployment, order: Order, call: Call) -> Submitted:
    """Say what the order will do, ask where that can cost something, and submit it.

    What it may cost is told before somebody is asked; where nobody is, no row waits until the service has answered.
    """
    service = call.service or made.settings.nemo_api_url
    if not call.sandbox:  # which asks for tokens of its own
        check_key(made.store, made.settings)  # else each row would fail by itself
    plan = submissions.plan(made.store, order, service=service)
    for line in told(plan):
        click.echo(line, err=True)
    costs = bool(plan.sends) and not call.sandbox
    if costs and asks(yes=call.yes):
        _tell_cost(made, order, plan, call)
        go_ahead(yes=call.yes)
    account_id = accounts.account_for(made.store, made.vault, made.settings)
    done = submissions.submit(made.store, order, service=service, account_id=account_id)
    if call.sandbox:
        with made.store.write() as session:
            submissions.begin_anew(session, account_id, done.batch_id, made.store.now(session))
    for left in done.left_behind:
        click.echo(
            f"{many(left.rows, 'row')} of {left.batch_id} {'is' if left.rows == 1 else 'are'} open and not in the "
            f"manifest any more; `reelq cancel {left.batch_id}` drops {'it' if left.rows == 1 else 'them'}.",
            err=True,
        )
    if costs and not asks(yes=call.yes):
        _tell_cost(made, order, plan, call)
    warn_of_broker(made)
    return done


def warn_of_broker(made: Deployment) -> None:
    """What was handed in is safe in the database; yet no worker hears of it while the broker is away."""
    told_of = made.settings.reelq_broker_url
    if told_of is None:
        return
    from reelq.cli.doctor.broker import unreachable  # by now a worker may have begun with it: this takes a while

    if why := unreachable(told_of.get_secret_value()):
        click.echo(
            f"The broker does not answer ({why}). The rows wait in the database; workers take them when it does.",
            err=True,
        )


def _tell_cost(made: Deployment, order: Order, plan: Plan, call: Call) -> None:
    for line in cost_of(plan, order.rows, funds(made.settings)):
        click.echo(line, err=True)
    tell_bound(call)


def tell_bound(call: Call) -> None:
    """What bounds the cost, where something does."""
    if call.limit_credits is not None:
        click.echo(f"No more than {many(call.limit_credits, 'credit')} will be spent (--limit-credits).", err=True)


def asks(*, yes: bool) -> bool:
    """Whether there is somebody to ask, who wants to be asked."""
    return not yes and is_interactive()


def go_ahead(*, yes: bool) -> None:
    """Ask before credits are spent, where there is somebody to ask."""
    if asks(yes=yes) and not click.confirm("Go ahead?", default=True, err=True):
        click.echo("Nothing was run, nothing was spent.", err=True)
        raise click.exceptions.Exit(OK)
