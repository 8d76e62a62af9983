"""The files that a manifest names, to the service: each content once, and none that it has."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import click

from reelq.cli.away.service import Service
from reelq.cli.away.transfer import PIECE, Meter, megabytes, meter, patiently
from reelq.cli.wording import many
from reelq.errors import FileUnreadable
from reelq.manifest.files import is_url
from reelq.storage import PREFIX
from reelq.store.orders import Order

_TAKES_A_WHILE: Final = 500_000_000


@dataclass(frozen=True, slots=True)
class _Local:
    path: Path
    size: int
    asset: str


def upload(service: Service, order: Order) -> dict[str, str]:
    """All files of an order are there now; what each name in the manifest is called there."""
    names = _names(order)
    size = sum((order.source / name).stat().st_size for name in names)
    if size > _TAKES_A_WHILE:
        click.echo(f"Reading {many(len(names), 'file')} ({megabytes(size)}).", err=True)
    assets = {name: f"{PREFIX}{order.contents.of(order.source / name)}" for name in names}
    distinct = {asset: _local(order.source / name, asset) for name, asset in reversed(assets.items())}
    with meter("sending") as shown:
        missing = [one for one in reversed(distinct.values()) if not _is_there(service, one, shown)]
        if distinct:
            click.echo(_told(len(distinct), missing), err=True)
        for one in missing:
            patiently(partial(_send, service, one, shown), shown.say)
    return assets


def _names(order: Order) -> list[str]:
    """Each name once, in the order of the rows."""
    cells = (name for row in order.rows for name in (row.file, *row.references))
    return list(dict.fromkeys(name for name in cells if name and not is_url(name)))


def _local(path: Path, asset: str) -> _Local:
    return _Local(path, path.stat().st_size, asset)


def _is_there(service: Service, one: _Local, shown: Meter) -> bool:
    return patiently(partial(service.has, f"/v1/assets/{one.asset}"), shown.say)


def _told(count: int, missing: list[_Local]) -> str:
    if not missing:
        return f"{many(count, 'file')}: the service has {'it' if count == 1 else 'them all'}."
    size = megabytes(sum(one.size for one in missing))
    kept = f"; the service has the other {count - len(missing):,}" if len(missing) < count else ""
    return f"{many(len(missing), 'file')} ({size}) to be sent{kept}."


def _send(service: Service, one: _Local, shown: Meter) -> None:
    shown.begin(one.path.name, one.size)
    headers = {"Content-Length": str(one.size), "Content-Type": "application/octet-stream"}
    query = {"name": one.path.name}
    told = service.ask("POST", "/v1/assets", params=query, headers=headers, content=_pieces(one, shown))
    if told.get("id") != one.asset:
        raise FileUnreadable(f"{one.path.name} changed while it was sent")


def _pieces(one: _Local, shown: Meter) -> Iterator[bytes]:
    """The bytes of a file; never more than were announced."""
    left = one.size
    try:
        with one.path.open("rb") as file:
            while left and (piece := file.read(min(PIECE, left))):
                left -= len(piece)
                shown.more(len(piece))
                yield piece
    except OSError as error:
        raise FileUnreadable(f"{one.path.name} can't be read: {error.strerror}") from None
    if left:
        raise FileUnreadable(f"{one.path.name} changed while it was sent")
