"""The files that owners have uploaded. The bytes are kept once; who has uploaded them is each owner's own matter."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, Final

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from reelq import media
from reelq.storage import Stored
from reelq.store.clients import Asset
from reelq.store.models import Job
from reelq.store.plans import pieces
from reelq.store.session import Store, Transaction
from reelq.store.taking import Work

_COLUMNS: Final = (Asset.sha256, Asset.size, Asset.name, Asset.created_at)


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A file as its owner knows it."""

    sha256: str
    size: int
    name: str
    created_at: datetime


def find(session: Transaction, owner: str, sha256: str) -> Uploaded | None:
    """The owner's file of this content; None where this owner has uploaded none, whoever else has."""
    found = session.execute(select(*_COLUMNS).where(Asset.owner == owner, Asset.sha256 == sha256)).one_or_none()
    return Uploaded(*found) if found else None


def use(session: Transaction, owner: str, hashes: Iterable[str], now: datetime) -> dict[str, Uploaded]:
    """Those of the owner's files that have these contents. From now on they count as used."""
    found: dict[str, Uploaded] = {}
    for some in pieces(sorted(set(hashes))):
        own = (Asset.owner == owner, Asset.sha256.in_(some))
        session.execute(update(Asset).where(*own).values(used_at=now))
        found |= {row.sha256: Uploaded(*row) for row in session.execute(select(*_COLUMNS).where(*own))}
    return found


def remember(store: Store, owner: str, came: Sequence[tuple[str, Stored]]) -> bool:
    """The owner has uploaded these, under these names; whether any of them is new.

    One that was known keeps the name that it came by first.
    """
    while True:
        with suppress(IntegrityError), store.write() as session:  # somebody has uploaded the same at this moment
            return _note(session, owner, {stored.sha256: (name, stored) for name, stored in came}, store.now(session))


def _note(session: Transaction, owner: str, came: Mapping[str, tuple[str, Stored]], now: datetime) -> bool:
    known = use(session, owner, came, now)
    new = [_values(owner, *came[sha256], now) for sha256 in sorted(came.keys() - known.keys())]
    if new:
        session.execute(insert(Asset), new)
    return bool(new)


def called(session: Transaction, job: Work) -> list[str]:
    """What the service is to call the contents that the job is given: it goes by the ending of a file's name.

    By the manifest's word for it, or where that has no such ending (`sha256:…` has none) as it was uploaded.
    """
    names = [_last(name) for name in (job.file, *job.references)]
    given = list(zip(names, job.inputs, strict=True))
    bare = [sha256 for name, sha256 in given if sha256 and not media.kind_of(name)]
    query = select(Asset.sha256, Asset.name).where(Asset.owner == job.owner, Asset.sha256.in_(bare))
    uploaded = {row.sha256: row.name for row in session.execute(query)} if bare else {}
    return [uploaded.get(sha256, name) for name, sha256 in given if sha256]


def hashes_of(job: Job | Work) -> Sequence[str]:
    """The contents that the job is given, in the order of `called`."""
    return [sha256 for sha256 in job.inputs if sha256]


def _values(owner: str, name: str, stored: Stored, now: datetime) -> dict[str, Any]:
    return {
        "owner": owner,
        "sha256": stored.sha256,
        "size": stored.size,
        "name": _last(name),
        "created_at": now,
        "used_at": now,
    }


def _last(name: str) -> str:
    """A file's own name, without the folders that somebody else has it in."""
    return PurePosixPath(name.replace("\\", "/")).name
