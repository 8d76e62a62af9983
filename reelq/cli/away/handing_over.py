"""A checked manifest to a service: its files first, then what it costs, then the manifest, handed in once."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from reelq import manifest
from reelq.cli.asking import Funds
from reelq.cli.away import resources
from reelq.cli.away.service import Service
from reelq.cli.away.transfer import patiently
from reelq.cli.away.uploading import upload
from reelq.cli.faults import show_findings
from reelq.cli.foretelling import in_words
from reelq.cli.handing_in import Call, go_ahead, refused, tell_bound
from reelq.cli.wording import many
from reelq.errors import ServiceAway, ServiceRefused
from reelq.store.estimates import Estimate
from reelq.store.orders import Order

_UNDER_WAY: Final = "under_way"


@dataclass(frozen=True, slots=True)
class _Form:
    """A request's body as it goes out: the same bytes whenever it has to be sent again."""

    content: bytes
    headers: Mapping[str, str]
    query: Mapping[str, str]


def hand_over(service: Service, order: Order, call: Call) -> str:
    """The files and the manifest to the service; the id of the batch that it became."""
    service.get("/v1/batches", limit=1)  # whoever can't ask this need not send anything
    form = _form(service, call, upload(service, order))
    _foretell(service, form, call)
    # A word of its own for each call: a lost answer is asked for again, and the batch is made once.
    once = {"Idempotency-Key": uuid.uuid4().hex}
    made = patiently(partial(_post, service, form, once, call), partial(click.echo, err=True))
    return resources.listed(made).id


def _form(service: Service, call: Call, assets: Mapping[str, str]) -> _Form:
    name = call.path.absolute().name
    query = {"name": name, "skill": call.skill}
    query |= {"first": str(call.first)} if call.first is not None else {}
    query |= {"limit_credits": str(call.limit_credits)} if call.limit_credits is not None else {}
    parts = [
        ("manifest", (name, call.path.read_bytes())),
        ("assets", (None, json.dumps(assets).encode(), "application/json")),
    ]
    content, headers = service.encoded(parts)
    return _Form(content, headers, query)


def _foretell(service: Service, form: _Form, call: Call) -> None:
    """What it would cost, by the service's own reckoning; faults that it alone can see end it here."""
    told = patiently(partial(_post, service, form, {}, call, dry_run="true"), partial(click.echo, err=True))
    _refuse(told, call.path)
    cost, there, rows = _cost(told)
    rest = ", the others are done, under way or free" if cost.sends < rows else ""
    click.echo(f"{many(rows, 'row')}: {cost.sends:,} to be sent to the agent{rest}.", err=True)
    if cost.sends:
        click.echo(in_words(cost, there, ask=""), err=True)
        tell_bound(call)
        go_ahead(yes=call.yes)


@resources.understood
def _cost(told: Mapping[str, Any]) -> tuple[Estimate, Funds, int]:
    cost = told["estimate"]
    estimate = Estimate(int(cost["sends"]), int(cost["credits"]), seen=bool(cost["seen"]))
    return estimate, Funds(available=cost["available"]), int(told["rows"])


def _post(service: Service, form: _Form, headers: Mapping[str, str], call: Call, **query: str) -> dict[str, Any]:
    try:
        query, headers = {**form.query, **query}, {**form.headers, **headers}
        return service.ask("POST", "/v1/batches", content=form.content, headers=headers, params=query)
    except ServiceRefused as refusal:
        _refuse(refusal.told, call.path)
        if refusal.told.get("code") == _UNDER_WAY:  # by the same request, whose answer was lost
            raise ServiceAway(str(refusal)) from None
        raise


@resources.understood
def _faults(told: Mapping[str, Any], kind: str) -> tuple[Any, ...]:
    return tuple(resources.fault(one) for one in told.get(kind) or ())


def _refuse(told: Mapping[str, Any], path: Path) -> None:
    """The faults that the service has found, as those are told that are found here."""
    if faults := _faults(told, "faults"):
        checked = manifest.Checked((), faults, ())
        show_findings(path, checked, err=True)
        error = refused(checked)
        error.advice = "The service says so; mend them, and submit the manifest again."
        raise error
