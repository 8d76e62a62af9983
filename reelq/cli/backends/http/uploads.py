"""Uploads the files that a manifest names: each content once, and only if the service lacks it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import click

from reelq.cli.backends.http.client import Service
from reelq.cli.backends.http.transfer import CHUNK_SIZE, TransferProgress, megabytes, meter, retry_while_unavailable
from reelq.cli.views.text import plural
from reelq.errors import FileUnreadable
from reelq.manifest.inputs import is_url
from reelq.storage import PREFIX
from reelq.store.submission.request import Submission

_ANNOUNCED_BYTES: Final = 500_000_000


@dataclass(frozen=True, slots=True)
class _LocalFile:
    path: Path
    size: int
    asset: str


def upload(service: Service, order: Submission) -> dict[str, str]:
    """Upload all files of an order that the service lacks. Returns the asset id of each file name in the manifest."""
    names = _file_names(order)
    size = sum((order.source / name).stat().st_size for name in names)
    if size > _ANNOUNCED_BYTES:
        click.echo(f"Reading {plural(len(names), 'file')} ({megabytes(size)}).", err=True)
    assets = {name: f"{PREFIX}{order.contents.of(order.source / name)}" for name in names}
    distinct = {asset: _local_file(order.source / name, asset) for name, asset in reversed(assets.items())}
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


def _local_file(path: Path, asset: str) -> _LocalFile:
    return _LocalFile(path, path.stat().st_size, asset)


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
