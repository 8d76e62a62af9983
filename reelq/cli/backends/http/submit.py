"""Submits a checked manifest to a service: uploads its files, shows the cost, then creates the batch, once."""

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from reelq.cli.backends.http.client import Service, parse
from reelq.cli.backends.http.transfer import CHUNK_SIZE, TransferProgress, megabytes, meter, retry_while_unavailable
from reelq.cli.estimate import Funds, describe_cost
from reelq.cli.submit import SubmitOptions, confirm, manifest_error, show_limit
from reelq.cli.views.text import plural, show_findings
from reelq.errors import Fault, FileUnreadable, ServiceAway, ServiceRefused
from reelq.manifest import checks
from reelq.manifest.inputs import is_url
from reelq.storage import PREFIX
from reelq.store.billing.spending import Estimate
from reelq.store.queries.lookup import BatchInfo
from reelq.store.submission.request import Submission

_IN_PROGRESS: Final = "under_way"
_ANNOUNCED_BYTES: Final = 500_000_000


@dataclass(frozen=True, slots=True)
class _EncodedRequest:
    """An encoded request: every retry sends the same bytes."""

    content: bytes
    headers: Mapping[str, str]
    query: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Estimate(Estimate):
    available: int | None


@dataclass(frozen=True, slots=True)
class _DryRun:
    """The answer to a request that only checks the batch: faults that only the service can see, and the cost."""

    rows: int
    estimate: _Estimate
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class _LocalFile:
    path: Path
    size: int
    asset: str


def submit_batch(service: Service, order: Submission, call: SubmitOptions) -> str:
    """Upload the files and submit the manifest. Returns the id of the new batch."""
    service.get("/v1/batches", limit=1)  # fails before anything is uploaded if the key is refused
    request = _encode(service, call, _upload(service, order))
    say = partial(click.echo, err=True)
    dry_run = parse(_DryRun, retry_while_unavailable(partial(_post, service, request, {}, call, dry_run="true"), say))
    _raise_faults(dry_run.faults, call.path)
    _confirm(dry_run, call)
    # A key per call: the request is retried if its answer is lost, and still creates only one batch.
    idempotency = {"Idempotency-Key": uuid.uuid4().hex}
    return parse(BatchInfo, retry_while_unavailable(partial(_post, service, request, idempotency, call), say)).id


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


def _confirm(dry_run: _DryRun, call: SubmitOptions) -> None:
    """Show what the service estimates as the cost, and ask whether to go on."""
    cost = dry_run.estimate
    rest = "; the others are done, in progress or free" if cost.sends < dry_run.rows else ""
    click.echo(f"{plural(dry_run.rows, 'row')}: {cost.sends:,} will be sent to the agent{rest}.", err=True)
    if cost.sends:
        click.echo(describe_cost(cost, Funds(available=cost.available), ask=""), err=True)
        show_limit(call)
        confirm(yes=call.yes)


def _post(
    service: Service, request: _EncodedRequest, headers: Mapping[str, str], call: SubmitOptions, **query: str
) -> dict[str, Any]:
    try:
        query, headers = {**request.query, **query}, {**request.headers, **headers}
        return service.ask("POST", "/v1/batches", content=request.content, headers=headers, params=query)
    except ServiceRefused as refusal:
        _raise_faults(parse(tuple[Fault, ...], refusal.told.get("faults") or ()), call.path)
        if refusal.told.get("code") == _IN_PROGRESS:  # an earlier try of this request, whose answer was lost
            raise ServiceAway(str(refusal)) from None
        raise


def _raise_faults(faults: tuple[Fault, ...], path: Path) -> None:
    """If the service has found faults, show them as local ones are shown, and raise."""
    if faults:
        checked = checks.Checked((), faults, ())
        show_findings(path, checked, err=True)
        error = manifest_error(checked)
        error.advice = "The service found these; fix them and submit the manifest again."
        raise error


def _upload(service: Service, order: Submission) -> dict[str, str]:
    """Upload all files of an order that the service lacks. Returns the asset id of each file name in the manifest."""
    names = _file_names(order)
    sizes = {name: (order.source / name).stat().st_size for name in names}
    if sum(sizes.values()) > _ANNOUNCED_BYTES:
        click.echo(f"Reading {plural(len(names), 'file')} ({megabytes(sum(sizes.values()))}).", err=True)
    assets = {name: f"{PREFIX}{order.hash_of(name)}" for name in names}
    distinct = {asset: _LocalFile(order.source / name, sizes[name], asset) for name, asset in reversed(assets.items())}
    with meter("uploading") as progress:
        missing = [local for local in reversed(distinct.values()) if not _is_uploaded(service, local, progress)]
        if distinct:
            click.echo(_summary(len(distinct), missing), err=True)
        for local in missing:
            retry_while_unavailable(partial(_send, service, local, progress), progress.say)
    return assets


def _file_names(order: Submission) -> list[str]:
    """The file names in the manifest, each once, in the order of the rows."""
    cells = (name for row in order.rows for name in (row.file, *row.references))
    return list(dict.fromkeys(name for name in cells if name and not is_url(name)))


def _is_uploaded(service: Service, local: _LocalFile, progress: TransferProgress) -> bool:
    return retry_while_unavailable(partial(service.has, f"/v1/assets/{local.asset}"), progress.say)


def _summary(count: int, missing: list[_LocalFile]) -> str:
    if not missing:
        return f"{plural(count, 'file')}: the service has {'it' if count == 1 else 'them all'}."
    size = megabytes(sum(local.size for local in missing))
    known = f"; the service has the other {count - len(missing):,}" if len(missing) < count else ""
    return f"{plural(len(missing), 'file')} ({size}) to upload{known}."


def _send(service: Service, local: _LocalFile, progress: TransferProgress) -> None:
    progress.begin(local.path.name, local.size)
    headers = {"Content-Length": str(local.size), "Content-Type": "application/octet-stream"}
    query = {"name": local.path.name}
    asset = service.ask("POST", "/v1/assets", params=query, headers=headers, content=_read_chunks(local, progress))
    if asset.get("id") != local.asset:
        raise FileUnreadable(f"{local.path.name} changed while it was sent")


def _read_chunks(local: _LocalFile, progress: TransferProgress) -> Iterator[bytes]:
    """Yield the bytes of a file, never more than announced in Content-Length."""
    remaining = local.size
    try:
        with local.path.open("rb") as file:
            while remaining and (chunk := file.read(min(CHUNK_SIZE, remaining))):
                remaining -= len(chunk)
                progress.more(len(chunk))
                yield chunk
    except OSError as error:
        raise FileUnreadable(f"{local.path.name} can't be read: {error.strerror}") from None
    if remaining:
        raise FileUnreadable(f"{local.path.name} changed while it was sent")
