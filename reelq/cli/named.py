"""From what a user types to a batch or a row: an id or a piece of one, a manifest, `last`, or BATCH:ROW."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal, NamedTuple

from reelq.errors import UnknownName
from reelq.manifest.columns import nearest
from reelq.store.batchlist import Listed, Numbered, batches_of, job_owner, rows_called, successor
from reelq.store.session import Store, Transaction

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


class _Known(NamedTuple):
    """What there is to be named."""

    batches: list[Listed]
    """The newest first, so that a manifest's newest batch is found."""
    successor: Callable[[str], Listed | None]
    """Which of them has the rows of a batch that has none any more."""


def batch_named(store: Store, owner: str, word: str) -> Named:
    """The batch; UnknownName, with what is near, where there is none or more than one."""
    with store.read() as session:
        return Named(_batch(_known(session, owner), word).id)


def job_named(store: Store, owner: str, word: str) -> Named:
    """The row."""
    with store.read() as session:
        found = _job(session, owner, word)
    if found is None:
        advice = "A row is named by its id, or as BATCH:ROW, such as last:3; `reelq status` lists the batches."
        raise _unknown(f"{word!r} names no row", advice)
    return found


def named(store: Store, owner: str, word: str) -> Named:
    """The batch or the row, whichever the word names."""
    with store.read() as session:
        with suppress(UnknownName):  # a batch first: a path may have a colon too
            return Named(_batch(_known(session, owner), word).id)
        return _job(session, owner, word) or Named(_batch(_known(session, owner), word).id)


def _job(session: Transaction, owner: str, word: str) -> Named | None:
    """None where the word is not such as names a row."""
    if word.startswith("job_") and ":" not in word:
        found = job_owner(session, word)
        if found is None or found.owner != owner:
            raise _unknown(f"No row has the id {word!r}", "`reelq show BATCH:ROW` finds a row by its number.")
        return Named(found.batch_id, word, found.row)
    known, wrong = _known(session, owner), None
    for batch_word, row_word in _parted(word):
        try:
            batch = _batch(known, batch_word)
            return _row(batch, rows_called(session, batch.id, row_word), row_word)
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


def _row(batch: Listed, found: list[Numbered], word: str) -> Named:
    if not found:
        raise _unknown(f"{batch.id} has no row {word!r}", f"`reelq results {batch.id}` lists its rows, with their ids.")
    if len(found) > 1:
        ids = " and ".join(f"row {one.row} ({one.job_id})" for one in found)
        raise _unknown(f"{word!r} is one row's number and another one's id: {ids}", "Name the row by its own id.")
    return Named(batch.id, found[0].job_id, found[0].row)


def _known(session: Transaction, owner: str) -> _Known:
    return _Known(batches_of(session, owner), partial(successor, session, owner))


def _batch(known: _Known, word: str) -> Listed:
    if not known.batches:
        raise _unknown("There is no batch yet", "`reelq run MANIFEST` makes one.")
    if word == LAST:
        return known.batches[0]
    ways = (
        lambda one: one.id == word,
        lambda one: bool(one.source) and _same_path(Path(one.source) / one.name, word),
        lambda one: word in {one.name, Path(one.name).stem},
    )
    for way in ways:
        if found := next(filter(way, known.batches), None):
            return found
    if newer := known.successor(word):
        message = f"{word} has no rows any more: its manifest was handed in again, and took them along"
        raise _unknown(message, f"They are in {newer.id} ({newer.name}).")
    return _by_piece(known.batches, word)


def _same_path(path: Path, word: str) -> bool:
    return os.path.normcase(path) == os.path.normcase(Path(word).absolute())


def _by_piece(known: list[Listed], word: str) -> Listed:
    ends = (word, f"bat_{word}")
    found = [one for one in known if one.id.startswith(ends) or one.id.endswith(word)]
    if len(word.removeprefix("bat_")) < _LEAST_PIECE or not found:
        raise _unknown(f"No batch is called {word!r}", _near(known, word))
    if len(found) > 1:
        some = ", ".join(f"{one.id} ({one.name})" for one in found[:_NAMED_AT_MOST])
        raise _unknown(f"{len(found):,} batches are called {word!r}", f"They are: {some}")
    return found[0]


def _near(known: list[Listed], word: str) -> str:
    names = {one.name: one for one in reversed(known)}
    if name := nearest(word, list(names)):
        return f"Did you mean {name!r} ({names[name].id})? `reelq status` lists all."
    return f"The newest is {known[0].id} ({known[0].name}); `reelq status` lists all."


def _unknown(message: str, advice: str) -> UnknownName:
    return UnknownName(message, advice)
