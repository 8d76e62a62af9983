"""`reelq credits`: the balance, and what became of the credits that are gone."""

import json
import sys
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import click

from reelq.cli.asking import attribution
from reelq.cli.deployment import Deployment, deployment
from reelq.cli.exits import FAILED, OK
from reelq.errors import CreditsExhausted, PassingFault, RemoteError
from reelq.remote.client import Remote, ask_for_token, open_http
from reelq.store import accounts, credits, spending
from reelq.store.accounts import StoreTokens
from reelq.store.models import AccountKind
from reelq.store.spending import BatchSpending, Period
from reelq.store.standing import Standing, standing

_ASKED = "asked"
"""The moment of a reading that a person wished for."""


@dataclass(frozen=True, slots=True)
class _Spent:
    periods: dict[str, Period]
    batches: list[BatchSpending]


@click.command("credits")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(as_json: bool) -> None:
    """Ask the service for the balance, and show what was spent: by the day and by the batch.

    Without NEMO_TOKEN this is the free account; if it has no token yet, one is asked for.

    \b
    Example: reelq credits
    Exit code: 0, or 1 if the service could not be asked (the last reading is
    shown then).
    """
    with deployment() as made:
        account_id = accounts.account_for(made.store, made.vault, made.settings)
        refusal = _read_balance(made, account_id)
        known = standing(made.store, made.settings)
        spent = _spent(made, account_id)
    if known is None:  # the account was made above
        raise click.ClickException("The account is gone from the database")
    if as_json:
        click.echo(json.dumps(_told(known, spent, refusal), indent=2, default=datetime.isoformat, ensure_ascii=False))
    else:
        _show(known, spent)
    if refusal:
        click.secho(f"reelq: the balance could not be read: {refusal}", err=True, fg="red")
        click.echo(_advice(refusal, known), err=True)
    sys.exit(FAILED if refusal else OK)


def _read_balance(made: Deployment, account_id: str) -> RemoteError | None:
    with open_http(made.settings) as http:
        headers = attribution(made.settings)
        wait = made.settings.reelq_rate_limit_wait
        tokens = StoreTokens(
            made.store, made.vault, account_id, lambda client: ask_for_token(http, client, headers), quota_wait=wait
        )
        try:
            credits.take_reading(made.store, account_id, _ASKED, Remote(http, tokens, headers).balance)
        except RemoteError as refusal:
            return refusal
    return None


def _advice(refusal: RemoteError, known: Standing) -> str:
    if isinstance(refusal, CreditsExhausted) and known.link:
        return f"Register: {known.link}"
    if isinstance(refusal, PassingFault):  # its own advice is for rows, which are tried again
        return "Try again in a minute; `reelq doctor` looks at the way there."
    return refusal.advice


def _spent(made: Deployment, account_id: str) -> _Spent:
    with made.store.read() as session:
        now = made.store.now(session)
        midnight = now.astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
        since: dict[str, datetime | None] = {"today": midnight, "7 days": now - timedelta(days=7), "all": None}
        periods = {name: spending.over(session, account_id, moment) for name, moment in since.items()}
        return _Spent(periods, spending.by_batch(session, account_id))


def _show(known: Standing, spent: _Spent) -> None:
    _show_balance(known)
    click.echo(f"\n{'spent':12}{'credits':>10}{'elsewhere':>12}{'topped up':>12}")
    for name, period in spent.periods.items():
        click.echo(f"{name:12}{period.spent:>10,}{period.unattributed:>12,}{period.top_ups:>12,}")
    if spent.periods["all"].unattributed:
        click.echo("(elsewhere: gone while nothing of reelq's was under way)")
    if spent.batches:
        click.echo(f"\n{'newest batches':42}{'sends':>8}{'credits':>10}")
    for batch in spent.batches:
        name = batch.name if len(batch.name) <= 24 else f"{batch.name[:23]}…"
        click.echo(f"{_day(batch.created_at)}  {name:24}{batch.sends:>8,}{batch.credits:>10,}  {batch.batch_id}")


def _show_balance(known: Standing) -> None:
    account = "your own (NEMO_TOKEN)" if known.kind is AccountKind.OWN else "free"
    click.echo(f"account     {account}")
    if known.reading is None:
        click.echo("balance     never read yet")
    else:
        frozen = f", {known.reading.frozen:,} set aside for work in progress" if known.reading.frozen else ""
        click.echo(f"balance     {known.reading.available:,} available{frozen}")
        click.echo(f"read        {_day(known.reading.at)}")
    if known.token_ends_at:
        click.echo(f"token ends  {_day(known.token_ends_at)}")
    if known.link:
        click.echo(f"register    {known.link}")


def _told(known: Standing, spent: _Spent, refusal: RemoteError | None) -> dict[str, Any]:
    return {
        "account": str(known.kind),
        "balance": asdict(known.reading) if known.reading else None,
        "fresh": refusal is None,
        "error": str(refusal) if refusal else None,
        "token_ends_at": known.token_ends_at,
        "registration_link": known.link or None,
        "spent": {name.replace(" ", "_"): asdict(period) for name, period in spent.periods.items()},
        "batches": [asdict(batch) for batch in spent.batches],
    }


def _day(moment: datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M")
