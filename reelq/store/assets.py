"""Uploaded files: equal contents are stored once, and each owner sees only their own uploads."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from reelq import media
from reelq.job import ClaimedJob
from reelq.storage import Stored
from reelq.store.db.client_models import Asset
from reelq.store.db.engine import Store, Transaction
from reelq.store.db.statements import chunks


def find(session: Transaction, owner: str, sha256: str) -> Asset | None:
    """The owner's upload with this content; None if this owner has not uploaded it, even if others have."""
    return session.get(Asset, (owner, sha256))


def use(session: Transaction, owner: str, hashes: Iterable[str], now: datetime) -> dict[str, Asset]:
    """The owner's uploads with these contents, by hash. Marks them as used now."""
    uploads: dict[str, Asset] = {}
    for some in chunks(sorted(set(hashes))):
        own = (Asset.owner == owner, Asset.sha256.in_(some))
        session.execute(update(Asset).where(*own).values(used_at=now))
        uploads |= {asset.sha256: asset for asset in session.scalars(select(Asset).where(*own))}
    return uploads


def record(store: Store, owner: str, uploads: Sequence[tuple[str, Stored]]) -> bool:
    """Record uploads of an owner, each with its name; returns whether any of them is new.

    A content that the owner has uploaded before keeps its first name.
    """
    named = {stored.sha256: (name, stored) for name, stored in uploads}
    while True:
        with suppress(IntegrityError), store.write() as session:  # a concurrent request has inserted the same upload
            now = store.now(session)
            known = use(session, owner, named, now)
            new = [_values(owner, *named[sha256], now) for sha256 in sorted(named.keys() - known.keys())]
            if new:
                session.execute(insert(Asset), new)
            return bool(new)


def named_inputs(session: Transaction, job: ClaimedJob) -> list[tuple[str, str]]:
    """The hashes of a job's inputs, each with the name under which it is sent: the service goes by the extension.

    That is the input's name in the manifest, or if that has no known extension (as with `sha256:…`) the name that it
    was uploaded with.
    """
    names = [_file_name(name) for name in (job.file, *job.references)]
    inputs = list(zip(names, job.inputs, strict=True))
    unnamed = [sha256 for name, sha256 in inputs if sha256 and not media.kind_of(name)]
    query = select(Asset.sha256, Asset.name).where(Asset.owner == job.owner, Asset.sha256.in_(unnamed))
    uploaded = {row.sha256: row.name for row in session.execute(query)} if unnamed else {}
    return [(sha256, uploaded.get(sha256, name)) for name, sha256 in inputs if sha256]


def _values(owner: str, name: str, stored: Stored, now: datetime) -> dict[str, Any]:
    values = {"owner": owner, "sha256": stored.sha256, "size": stored.size, "name": _file_name(name)}
    return {**values, "created_at": now, "used_at": now}


def _file_name(name: str) -> str:
    """The last part of a path, which may come from another operating system."""
    return PurePosixPath(name.replace("\\", "/")).name
