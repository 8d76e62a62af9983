"""From what a user types to a batch or a row: an id or a piece of one, a manifest, `last`, or BATCH:ROW."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

from reelq.errors import UnknownName
from reelq.manifest.columns import nearest
from reelq.store.batchlist import Listed, Numbered

LAST: Final = "last"
_LEAST_PIECE: Final = 3
"""Fewer characters of an id name nothing: they were a slip."""
_NAMED_AT_MOST: Final = 5


@dataclass(frozen=True, slots=True)
class Named:
    """What was meant: a batch, or one row of it."""

    batch_id: str
    job_id: str = ""
    row: int = 0

    @property
    def kind(self) -> Literal["batch", "job"]:
        """Which of the two."""
        return "job" if self.job_id else "batch"


class Known(Protocol):
    """What there is to be named: in a database, or with a service."""

    def batches(self) -> Sequence[Listed]:
        """All of the user's batches, the newest first, so that a manifest's newest batch is found."""

    def newest(self) -> Listed | None:
        """The first of those."""

    def with_id(self, batch_id: str) -> Listed | None:
        """The one that has this whole id."""

    def successor(self, batch_id: str) -> Listed | None:
        """Which of them has the rows of a batch that has none any more."""

    def row_with(self, job_id: str) -> Numbered | None:
        """The row that has this whole id, if it is the user's."""

    def rows_called(self, batch_id: str, word: str) -> Sequence[Numbered]:
        """The rows of a batch with this number or with this id of the user's; usually one and the same."""


def batch_named(known: Known, word: str) -> Named:
    """The batch; UnknownName, with what is near, where there is none or more than one."""
    return Named(_batch(known, word).id)


def job_named(known: Known, word: str) -> Named:
    """The row."""
    found = _job(known, word)
    if found is None:
        advice = "A row is named by its id, or as BATCH:ROW, such as last:3; `reelq status` lists the batches."
        raise _unknown(f"{word!r} names no row", advice)
    return found


def named(known: Known, word: str) -> Named:
    """The batch or the row, whichever the word names."""
    with suppress(UnknownName):  # a batch first: a path may have a colon too
        return batch_named(known, word)
    return _job(known, word) or batch_named(known, word)


def _job(known: Known, word: str) -> Named | None:
    """None where the word is not such as names a row."""
    if word.startswith("job_") and ":" not in word:
        found = known.row_with(word)
        if found is None:
            raise _unknown(f"No row has the id {word!r}", "`reelq show BATCH:ROW` finds a row by its number.")
        return Named(found.batch_id, word, found.row)
    wrong = None
    for batch_word, row_word in _parted(word):
        try:
            batch = _batch(known, batch_word)
            return _row(batch, known.rows_called(batch.id, row_word), row_word)
        except UnknownName as error:
            wrong = wrong or error
    if wrong:
        raise wrong
    return None


def _parted(word: str) -> Iterator[tuple[str, str]]:
    """BATCH and ROW, at the last colon first: a path can have colons before it, a row's id behind it."""
    for at in range(len(word) - 2, 0, -1):
        if word[at] == ":":
            yield word[:at], word[at + 1 :]


def _row(batch: Listed, found: Sequence[Numbered], word: str) -> Named:
    if not found:
        raise _unknown(f"{batch.id} has no row {word!r}", f"`reelq results {batch.id}` lists its rows, with their ids.")
    if len(found) > 1:
        ids = " and ".join(f"row {one.row} ({one.job_id})" for one in found)
        raise _unknown(f"{word!r} is one row's number and another one's id: {ids}", "Name the row by its own id.")
    return Named(batch.id, found[0].job_id, found[0].row)


def _batch(known: Known, word: str) -> Listed:
    newest = known.newest()
    if newest is None:
        raise _unknown("There is no batch yet", "`reelq run MANIFEST` or `reelq submit MANIFEST` makes one.")
    if word == LAST:
        return newest
    if word.startswith("bat_") and (found := known.with_id(word)):
        return found
    batches = known.batches()
    for way in (_is_manifest, _is_called):
        if found := next((one for one in batches if way(one, word)), None):
            return found
    if newer := known.successor(word):
        message = f"{word} has no rows any more: its manifest was handed in again, and took them along"
        raise _unknown(message, f"They are in {newer.id} ({newer.name}).")
    return _by_piece(batches, word)


def _is_manifest(one: Listed, word: str) -> bool:
    return bool(one.source) and _same_path(Path(one.source) / one.name, word)


def _is_called(one: Listed, word: str) -> bool:
    # Whoever has handed a manifest in from afar knows its path; the service knows what it is called.
    return word in {one.name, Path(one.name).stem} or (not one.source and Path(word).name == one.name)


def _same_path(path: Path, word: str) -> bool:
    return os.path.normcase(path) == os.path.normcase(Path(word).absolute())


def _by_piece(known: Sequence[Listed], word: str) -> Listed:
    ends = (word, f"bat_{word}")
    found = [one for one in known if one.id.startswith(ends) or one.id.endswith(word)]
    if len(word.removeprefix("bat_")) < _LEAST_PIECE or not found:
        raise _unknown(f"No batch is called {word!r}", _near(known, word))
    if len(found) > 1:
        some = ", ".join(f"{one.id} ({one.name})" for one in found[:_NAMED_AT_MOST])
        raise _unknown(f"{len(found):,} batches are called {word!r}", f"They are: {some}")
    return found[0]


def _near(known: Sequence[Listed], word: str) -> str:
    names = {one.name: one for one in reversed(known)}
    if name := nearest(word, list(names)):
        return f"Did you mean {name!r} ({names[name].id})? `reelq status` lists all."
    return f"The newest is {known[0].id} ({known[0].name}); `reelq status` lists all."


def _unknown(message: str, advice: str) -> UnknownName:
    return UnknownName(message, advice)
