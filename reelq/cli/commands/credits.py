"""`reelq credits`: the balance, and what credits were spent on."""

import json
import sys
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import click

from reelq.cli.backends.local import Deployment, open_deployment
from reelq.cli.errors import FAILED, OK
from reelq.cli.estimate import attribution_headers
from reelq.cli.views.text import format_time
from reelq.errors import CreditsExhausted, PassingFault, RemoteError
from reelq.nemo.client import Remote, request_token
from reelq.nemo.transport import open_http
from reelq.store.billing import accounts, ledger, spending
from reelq.store.billing.spending import BatchSpending, Period
from reelq.store.billing.token_store import StoreTokens
from reelq.store.db.models import AccountKind
from reelq.store.queries.account import AccountState, account_state

_ON_REQUEST = "asked"
"""Marks a balance reading that a user asked for."""


@click.command("credits")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(as_json: bool) -> None:
    """Read the balance from the service, and show spending by period and by batch.

    Without NEMO_TOKEN this is the free account; a token is requested if it has none.

    \b
    Example: reelq credits
    Exit code: 0, or 1 if the service could not be reached (then the last reading
    is shown).
    """
    with open_deployment() as local:
        account_id = accounts.account_for(local.store, local.vault, local.settings)
        refusal = _read_balance(local, account_id)
        known = account_state(local.store, local.settings)
        periods, batches = _read_spending(local, account_id)
    if known is None:  # the account was created above, so it has been deleted since
        raise click.ClickException("The account was deleted from the database")
    if as_json:
        data = _as_data(known, periods, batches, refusal)
        click.echo(json.dumps(data, indent=2, default=datetime.isoformat, ensure_ascii=False))
    else:
        _show_balance(known)
        _show_spending(periods, batches)
    if refusal:
        click.secho(f"reelq: the balance could not be read: {refusal}", err=True, fg="red")
        click.echo(_advice(refusal, known), err=True)
    sys.exit(FAILED if refusal else OK)


def _read_balance(local: Deployment, account_id: str) -> RemoteError | None:
    headers, wait = attribution_headers(local.settings), local.settings.reelq_rate_limit_wait
    with open_http(local.settings) as http:
        tokens = StoreTokens(
            local.store, local.vault, account_id, lambda client: request_token(http, client, headers), quota_wait=wait
        )
        try:
            ledger.take_reading(local.store, account_id, _ON_REQUEST, Remote(http, tokens, headers).balance)
        except RemoteError as refusal:
            return refusal
    return None


def _advice(refusal: RemoteError, known: AccountState) -> str:
    if isinstance(refusal, CreditsExhausted) and known.link:
        return f"Register: {known.link}"
    if isinstance(refusal, PassingFault):  # its own advice is about rows, which are retried
        return "Try again in a minute, or run `reelq doctor` to check the connection."
    return refusal.advice


def _read_spending(local: Deployment, account_id: str) -> tuple[dict[str, Period], list[BatchSpending]]:
    with local.store.read() as session:
        now = local.store.now(session)
        midnight = now.astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
        starts: dict[str, datetime | None] = {"today": midnight, "7 days": now - timedelta(days=7), "all": None}
        periods = {name: spending.over(session, account_id, moment) for name, moment in starts.items()}
        return periods, spending.by_batch(session, account_id)


def _show_spending(periods: dict[str, Period], batches: list[BatchSpending]) -> None:
    click.echo(f"\n{'spent':12}{'credits':>10}{'elsewhere':>12}{'topped up':>12}")
    for name, period in periods.items():
        click.echo(f"{name:12}{period.spent:>10,}{period.unattributed:>12,}{period.top_ups:>12,}")
    if periods["all"].unattributed:
        click.echo("(elsewhere: spent while reelq had nothing in progress)")
    if batches:
        click.echo(f"\n{'newest batches':42}{'sends':>8}{'credits':>10}")
    for batch in batches:
        name = batch.name if len(batch.name) <= 24 else f"{batch.name[:23]}…"
        numbers = f"{batch.sends:>8,}{batch.credits:>10,}"
        click.echo(f"{format_time(batch.created_at)}  {name:24}{numbers}  {batch.batch_id}")


def _show_balance(known: AccountState) -> None:
    click.echo(f"account     {'your own (NEMO_TOKEN)' if known.kind is AccountKind.OWN else 'free'}")
    if known.reading is None:
        click.echo("balance     not read yet")
    else:
        frozen = f", {known.reading.frozen:,} set aside for work in progress" if known.reading.frozen else ""
        click.echo(f"balance     {known.reading.available:,} available{frozen}")
        click.echo(f"read        {format_time(known.reading.at)}")
    if known.token_ends_at:
        click.echo(f"token ends  {format_time(known.token_ends_at)}")
    if known.link:
        click.echo(f"register    {known.link}")


def _as_data(
    known: AccountState, periods: dict[str, Period], batches: list[BatchSpending], refusal: RemoteError | None
) -> dict[str, Any]:
    return {
        "account": str(known.kind),
        "balance": asdict(known.reading) if known.reading else None,
        "fresh": refusal is None,
        "error": str(refusal) if refusal else None,
        "token_ends_at": known.token_ends_at,
        "registration_link": known.link or None,
        "spent": {name.replace(" ", "_"): asdict(period) for name, period in periods.items()},
        "batches": [asdict(batch) for batch in batches],
    }
