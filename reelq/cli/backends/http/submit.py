"""Submits a checked manifest to a service: uploads its files, shows the cost, then creates the batch, once."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from reelq.cli.backends.http import resources
from reelq.cli.backends.http.client import Service
from reelq.cli.backends.http.transfer import retry_while_unavailable
from reelq.cli.backends.http.uploads import upload
from reelq.cli.estimate import Funds, describe_cost
from reelq.cli.submit import SubmitOptions, confirm, manifest_error, show_limit
from reelq.cli.views.text import plural, show_findings
from reelq.errors import ServiceAway, ServiceRefused
from reelq.manifest import checks
from reelq.store.billing.spending import Estimate
from reelq.store.submission.request import Submission

_IN_PROGRESS: Final = "under_way"


@dataclass(frozen=True, slots=True)
class _EncodedRequest:
    """An encoded request: every retry sends the same bytes."""

    content: bytes
    headers: Mapping[str, str]
    query: Mapping[str, str]


def submit_batch(service: Service, order: Submission, call: SubmitOptions) -> str:
    """Upload the files and submit the manifest. Returns the id of the new batch."""
    service.get("/v1/batches", limit=1)  # fails before anything is uploaded if the key is refused
    request = _encode(service, call, upload(service, order))
    _show_estimate(service, request, call)
    # A key per call: the request is retried if its answer is lost, and still creates only one batch.
    idempotency = {"Idempotency-Key": uuid.uuid4().hex}
    created = retry_while_unavailable(
        partial(_post, service, request, idempotency, call), partial(click.echo, err=True)
    )
    return resources.listed(created).id


def _encode(service: Service, call: SubmitOptions, assets: Mapping[str, str]) -> _EncodedRequest:
    name = call.path.absolute().name
    query = {"name": name, "skill": call.skill}
    query |= {"first": str(call.first)} if call.first is not None else {}
    query |= {"limit_credits": str(call.limit_credits)} if call.limit_credits is not None else {}
    parts = [
        ("manifest", (name, call.path.read_bytes())),
        ("assets", (None, json.dumps(assets).encode(), "application/json")),
    ]
    content, headers = service.encoded(parts)
    return _EncodedRequest(content, headers, query)


def _show_estimate(service: Service, request: _EncodedRequest, call: SubmitOptions) -> None:
    """Show what the service estimates as the cost, and stop on faults that only the service can see."""
    data = retry_while_unavailable(
        partial(_post, service, request, {}, call, dry_run="true"), partial(click.echo, err=True)
    )
    _raise_faults(data, call.path)
    cost, balance, rows = _cost(data)
    rest = "; the others are done, in progress or free" if cost.sends < rows else ""
    click.echo(f"{plural(rows, 'row')}: {cost.sends:,} will be sent to the agent{rest}.", err=True)
    if cost.sends:
        click.echo(describe_cost(cost, balance, ask=""), err=True)
        show_limit(call)
        confirm(yes=call.yes)


@resources.parser
def _cost(data: Mapping[str, Any]) -> tuple[Estimate, Funds, int]:
    cost = data["estimate"]
    estimate = Estimate(int(cost["sends"]), int(cost["credits"]), seen=bool(cost["seen"]))
    return estimate, Funds(available=cost["available"]), int(data["rows"])


def _post(
    service: Service, request: _EncodedRequest, headers: Mapping[str, str], call: SubmitOptions, **query: str
) -> dict[str, Any]:
    try:
        query, headers = {**request.query, **query}, {**request.headers, **headers}
        return service.ask("POST", "/v1/batches", content=request.content, headers=headers, params=query)
    except ServiceRefused as refusal:
        _raise_faults(refusal.told, call.path)
        if refusal.told.get("code") == _IN_PROGRESS:  # an earlier try of this request, whose answer was lost
            raise ServiceAway(str(refusal)) from None
        raise


@resources.parser
def _faults(data: Mapping[str, Any], kind: str) -> tuple[Any, ...]:
    return tuple(resources.fault(item) for item in data.get(kind) or ())


def _raise_faults(data: Mapping[str, Any], path: Path) -> None:
    """If the service has found faults, show them as local ones are shown, and raise."""
    if faults := _faults(data, "faults"):
        checked = checks.Checked((), faults, ())
        show_findings(path, checked, err=True)
        error = manifest_error(checked)
        error.advice = "The service found these; fix them and submit the manifest again."
        raise error
