"""A submission: the manifest's rows, the key of each row, and what may happen to it."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from reelq.errors import FileUnreadable
from reelq.manifest.columns import Row
from reelq.manifest.inputs import is_url

REFINES: Final = "refine:"
"""The prefix of a refinement's key, which never equals the key of a manifest's row."""


class RowAction(StrEnum):
    """What happens to a row when its manifest is submitted."""

    NEW = "new"
    GOES_ON = "goes on"
    """It is open in a batch of this manifest, or was paused or cancelled there, and continues."""
    DONE = "done"
    """It succeeded, and its result exists."""
    FETCHED = "fetched"
    """It succeeded, but its result is missing and is downloaded again, which is free."""
    FAILED = "failed"
    """It failed earlier, or follows a row that did, and does not run."""
    RETRIED = "retried"
    AGAIN = "again"
    """It ran before and runs again, because its session has changed and is restarted."""
    TAKEN = "taken"
    """The same row succeeded in another manifest, and its result is reused."""
    JOINED = "joined"
    """The same row is in progress in another manifest, and its result will be reused."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A manifest to submit: its owner, its rows, the folder of its files and the folder for its results."""

    owner: str
    name: str
    source: Path
    """The folder that relative paths are resolved against, as an absolute path.

    A path that is not absolute, such as `Path()`, means that rows name assets. Such a manifest is not a file that could
    be submitted again, so every submission makes a new batch.
    """
    out: Path
    rows: Sequence[Row]
    columns: Sequence[str] = ()
    limit_credits: int | None = None
    first: int | None = None
    options: dict[str, Any] = field(default_factory=dict)
    retry_failed: bool = False
    inputs: Mapping[str, str] = field(default_factory=dict)
    """For rows that name assets: the hash of the content of each name that is not a URL."""
    batch_id: str = ""
    """The id of the new batch, if the caller has chosen one: submitting it again makes no second batch."""
    _hashes: dict[str, str] = field(default_factory=dict, compare=False, repr=False)

    def hash_of(self, name: str) -> str:
        """The hash of a file's contents, which are read once for planning, uploading and submitting."""
        if name not in self._hashes:
            path = self.source / name
            try:
                with path.open("rb") as file:
                    self._hashes[name] = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise FileUnreadable(f"{path.name} can't be read: {error.strerror}") from None
        return self._hashes[name]


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """The number of open rows of an older batch that its manifest no longer has."""

    batch_id: str
    rows: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What a submission does, or has done."""

    actions: tuple[RowAction, ...]
    """One per row."""
    sends: int
    """The number of rows that still have to send an instruction, which can cost credits."""
    generations: int
    """How many of those have no input file, and so generate a video."""
    batch_id: str | None
    """The existing batch that continues; None if a new one is made."""
    left_behind: tuple[LeftBehind, ...]
    """The open rows of older batches that the manifest no longer has; `reelq cancel` cancels them."""

    def count(self, action: RowAction) -> int:
        """The number of rows to which this happens."""
        return self.actions.count(action)


def keys_of(submission: Submission, service: str) -> list[str]:
    """The keys of the rows; reads their files. `service` is the address of the service, or `sandbox`.

    Equal rows differ by how many of them came before. The key of a row in a session includes the key of the row before
    it, because it builds on that row: a changed row gives all later rows of its session new keys.
    """
    keys: list[str] = []
    seen: Counter[str] = Counter()
    last_in: dict[str, str] = {}
    for row in submission.rows:
        contents = [_hash_or_url(submission, name) for name in (row.file, *row.references) if name]
        instruction = (row.instruction, row.skill, row.language)
        parts = [service, submission.owner, *contents, "|", *instruction, row.session, last_in.get(row.session, "")]
        plain = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        key = hashlib.sha256(f"{plain} {seen[plain]}".encode()).hexdigest()
        seen[plain] += 1
        if row.session:
            last_in[row.session] = key
        keys.append(key)
    return keys


def inputs_of(submission: Submission, row: Row) -> list[str]:
    """The hashes of the assets that a row names, in the form that its job stores: a URL has an empty string."""
    names = [] if submission.source.is_absolute() else [row.file, *row.references]
    return ["" if not name or is_url(name) else submission.inputs[name] for name in names]


def _hash_or_url(submission: Submission, name: str) -> str:
    if is_url(name):
        return name
    return submission.hash_of(name) if submission.source.is_absolute() else submission.inputs[name]
