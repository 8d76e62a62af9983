"""A manifest as it is handed in, and what will become of each of its rows: the words of a submission."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from reelq.keys import Contents, Keys
from reelq.manifest import Row
from reelq.manifest.files import is_url

REFINES: Final = "refine:"
"""How the key of a refinement begins: it is work of its own, that no manifest asks for."""


class Fate(StrEnum):
    """What becomes of a row when its manifest is handed in."""

    NEW = "new"
    GOES_ON = "goes on"
    """It is open in this manifest's batch already, or was paused or cancelled there."""
    DONE = "done"
    """It succeeded, and its result is there."""
    FETCHED = "fetched"
    """It succeeded, and its result has to be brought again, which is free."""
    FAILED = "failed"
    """It failed earlier, or stands behind one that did, and does not run."""
    RETRIED = "retried"
    AGAIN = "again"
    """It was run before, and has to run once more as its session was changed and begins anew."""
    TAKEN = "taken"
    """It succeeded in another manifest, and takes that one's result."""
    JOINED = "joined"
    """It is under way in another manifest, and will take that one's result."""


@dataclass(frozen=True, slots=True)
class Order:
    """A manifest as it is handed in: whose it is, where its files are and its results go."""

    owner: str
    name: str
    source: Path
    """The folder that paths are read from: absolute. Any other, such as `Path()`, says that rows name assets; such a
    manifest is no file that could be handed in again, and each time it is a batch of its own."""
    out: Path
    rows: Sequence[Row]
    columns: Sequence[str] = ()
    limit_credits: int | None = None
    first: int | None = None
    options: dict[str, Any] = field(default_factory=dict)
    retry_failed: bool = False
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Of rows that name assets, the hash of the content behind each name that is no address."""
    batch_id: str = ""
    """What the batch is to be called, where that was settled beforehand; submitted twice, it is made once."""
    contents: Contents = field(default_factory=Contents, compare=False, repr=False)
    """What is known of the files: planning and submitting the same order reads each once."""


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """Rows of an older batch of this manifest that are open and that it does not have any more."""

    batch_id: str
    rows: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What submitting an order does, or did."""

    fates: tuple[Fate, ...]
    """One for each row of the order."""
    sends: int
    """How many rows will send an instruction yet: these can cost credits."""
    generations: int
    """Those of them that have no file to begin with, and so generate one."""
    batch_id: str | None
    """The batch that goes on; None where there is to be a new one."""
    left_behind: tuple[LeftBehind, ...]

    def count(self, fate: Fate) -> int:
        """How many rows have this fate."""
        return self.fates.count(fate)

    @property
    def session_reruns(self) -> int:
        """How many rows that were run before run again, because an earlier or later row of their session changed."""
        return self.count(Fate.AGAIN)


def keys_of(order: Order, service: str) -> list[str]:
    """The keys of an order's rows; their files are read for it. `service` is its address, or the word `sandbox`."""
    keys = Keys(service, order.owner)
    return [keys.next(_contents(order, row), _words(row), row.session) for row in order.rows]


def inputs_of(order: Order, row: Row) -> list[str]:
    """The hashes of what a row that names assets is given, as its job keeps them: nothing stands for an address."""
    names = [] if order.source.is_absolute() else [row.file, *row.references]
    return ["" if not name or is_url(name) else order.inputs[name] for name in names]


def _contents(order: Order, row: Row) -> list[str]:
    names = [name for name in (row.file, *row.references) if name]
    return [name if is_url(name) else _content(order, name) for name in names]


def _content(order: Order, name: str) -> str:
    return order.contents.of(order.source / name) if order.source.is_absolute() else order.inputs[name]


def _words(row: Row) -> list[str]:
    return [row.instruction, row.skill, row.language]
