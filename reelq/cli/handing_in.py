"""From a manifest on the command line to a batch in the queue: check it, say what it will do and cost, ask, submit."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from reelq import manifest, skills
from reelq.cli import play
from reelq.cli.asking import funds
from reelq.cli.check import in_words
from reelq.cli.deployment import OWNER, Deployment
from reelq.cli.exits import OK
from reelq.cli.faults import show_findings
from reelq.cli.live import is_interactive
from reelq.cli.wording import many
from reelq.errors import ManifestError
from reelq.settings import Settings
from reelq.store import accounts, submissions
from reelq.store.estimates import estimate
from reelq.store.orders import Fate, Order, Plan
from reelq.store.submissions import Submitted

RESULTS: Final = Path("reelq-out")
"""Where results go that nobody gives another folder: below it, in one of the manifest's name."""
_WORDS: Final = {
    Fate.NEW: "new",
    Fate.GOES_ON: "under way already",
    Fate.DONE: "done before",
    Fate.FETCHED: "done before, to be brought home again",
    Fate.FAILED: "failed before",
    Fate.RETRIED: "to be tried again",
    Fate.AGAIN: "to be done again, as their session changed",
    Fate.TAKEN: "done in another manifest",
    Fate.JOINED: "under way in another manifest",
}

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


def options(command: F) -> F:
    """The argument and the options that `run` and `submit` share."""
    for option in reversed(
        (
            click.argument("path", metavar="MANIFEST", type=click.Path(path_type=Path)),
            click.option(
                "--out",
                metavar="DIR",
                type=click.Path(path_type=Path, file_okay=False),
                help=f"Where the videos go.  [default: {RESULTS}/<the manifest's name>]",
            ),
            click.option(
                "--skill", default=manifest.DEFAULT_SKILL, show_default=True, help="The skill of rows that name none."
            ),
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
    known = skills.load([settings.reelq_data_dir / "skills"])
    known.named(call.skill)  # which is refused, if at all, before the manifest is read
    for note in known.notes:
        click.echo(note, err=True)
    checked = manifest.check_file(call.path, skills=known, default_skill=call.skill)
    show_findings(call.path, checked, err=True)
    if checked.faults:
        raise _refused(checked)
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


def _refused(checked: manifest.Checked) -> ManifestError:
    error = ManifestError(list(checked.faults))
    error.args = (f"{many(len(checked.faults), 'fault')} in the manifest; nothing was run",)
    error.advice = "`reelq check` shows them again."
    return error


def hand_in(made: Deployment, order: Order, call: Call) -> Submitted:
    """Say what the order will do, ask where that can cost something, and submit it."""
    service = call.service or made.settings.nemo_api_url
    plan = submissions.plan(made.store, order, service=service)
    for line in told(plan):
        click.echo(line, err=True)
    if not call.sandbox and plan.sends:
        _ask(made, plan, call)
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
    return done


def _ask(made: Deployment, plan: Plan, call: Call) -> None:
    there = funds(made.settings)
    click.echo(in_words(estimate(plan.sends, plan.generations, highest=there.highest), there), err=True)
    if call.limit_credits is not None:
        click.echo(f"No more than {many(call.limit_credits, 'credit')} will be spent (--limit-credits).", err=True)
    if not call.yes and is_interactive() and not click.confirm("Go ahead?", default=True, err=True):
        click.echo("Nothing was run, nothing was spent.", err=True)
        raise click.exceptions.Exit(OK)


def told(plan: Plan) -> list[str]:
    """What handing the manifest in does with its rows, in words."""
    parts = [f"{plan.count(fate):,} {words}" for fate, words in _WORDS.items() if plan.count(fate)]
    lines = [f"{many(len(plan.fates), 'row')}: {', '.join(parts)}."]
    if plan.count(Fate.DONE) == len(plan.fates):
        lines.append("Nothing is left to do.")
    if plan.count(Fate.FAILED):
        lines.append("`--retry-failed` runs again what failed before.")
    return lines
