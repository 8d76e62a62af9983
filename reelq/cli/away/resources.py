"""The service's resources, read back into what commands show: one function for each thing."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from reelq.cli.queue import Stand
from reelq.errors import Fault, ServiceRefused
from reelq.job import Cause, Stage, Status
from reelq.store.batchlist import Listed, Numbered, Standing
from reelq.store.handling import Handled
from reelq.store.models import BatchState
from reelq.store.outcomes import Group
from reelq.store.overview import Hold, Moving, Place, Snapshot
from reelq.store.story import Told

P = ParamSpec("P")
T = TypeVar("T")


def understood(read: Callable[P, T]) -> Callable[P, T]:
    """A resource that is not what it should be comes from a service of another version; that is then what is said."""

    @wraps(read)
    def reads(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return read(*args, **kwargs)
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            what = f"{read.__name__}: {type(error).__name__} {error}"
            advice = "It is of another version than this reelq: bring both to the same."
            raise ServiceRefused(f"The service's answer can't be understood ({what})", advice) from None

    return reads


@understood
def stand(told: Mapping[str, Any]) -> Stand:
    """How a batch stands."""
    return Stand(_snapshot(told), [_group(one) for one in told["failures"]], [_group(one) for one in told["waits"]])


@understood
def standing(told: Mapping[str, Any]) -> Standing:
    """A batch in a list."""
    counts = Counter({Status(status): int(count) for status, count in told["counts"].items()})
    return Standing(_listed(told), counts, int(told["credits"]))


@understood
def listed(told: Mapping[str, Any]) -> Listed:
    """A batch by its names."""
    return _listed(told)


@understood
def numbered(told: Mapping[str, Any]) -> Numbered:
    """A row by its place; whose it is, the service has seen to."""
    return Numbered(str(told["id"]), str(told["batch"]), "", int(told["row"]))


@understood
def status(told: Mapping[str, Any]) -> Status:
    """Where a row is."""
    return Status(told["status"])


@understood
def handled(told: Mapping[str, Any]) -> Handled:
    """What came of an action."""
    return Handled(int(told["done"]), not_so=int(told["not_so"]), soon=int(told["soon"]))


@understood
def event(text: str) -> Told:
    """One thing that happened, as a stream tells it."""
    told = json.loads(text)
    return Told(
        id=int(told["id"]), at=_moment(told["at"]), job_id=told["job"], row=int(told["row"]), name=told["name"],
        file=told["file"], instruction=told["instruction"], what=told["what"], stage=Stage(told["stage"]),
        before=told["before"], after=told["after"], words=told["words"],
    )  # fmt: skip


@understood
def fault(told: Mapping[str, Any]) -> Fault:
    """One thing wrong with a manifest, or worth a warning."""
    words = {name: str(told[name]) for name in ("column", "message", "value", "hint")}
    return Fault(line=int(told["line"]), row=int(told["row"]), **words)


def _snapshot(told: Mapping[str, Any]) -> Snapshot:
    return Snapshot(
        at=_moment(told["at"]), batch_id=told["id"], name=told["name"], source="", out="",
        state=BatchState(told["state"]), released=told["released"], limit_credits=told["limit_credits"],
        created_at=_moment(told["created_at"]), finished_at=_perhaps(told["finished_at"]),
        places=tuple(_place(one) for one in told["places"]),
        held=int(told["held"]), credits=int(told["credits"]), shared=bool(told["shared"]),
        rows=tuple(_moving(one) for one in told["moving"]), holds=tuple(_hold(one) for one in told["holds"]),
        tended=bool(told["tended"]), twins_move=bool(told["twins_move"]),
    )  # fmt: skip


def _listed(told: Mapping[str, Any]) -> Listed:
    return Listed(
        id=told["id"], name=told["name"], source="", state=BatchState(told["state"]),
        created_at=_moment(told["created_at"]), finished_at=_perhaps(told["finished_at"]),
    )  # fmt: skip


def _place(told: Mapping[str, Any]) -> Place:
    return Place(Stage(told["stage"]), Status(told["status"]), _cause(told["cause"]), int(told["count"]))


def _moving(told: Mapping[str, Any]) -> Moving:
    return Moving(
        job_id=told["job"], row=int(told["row"]), name=told["name"], file=told["file"],
        instruction=told["instruction"], stage=Stage(told["stage"]), status=Status(told["status"]),
        words=told["words"], since=_moment(told["since"]),
    )  # fmt: skip


def _hold(told: Mapping[str, Any]) -> Hold:
    return Hold(_cause(told["cause"]), told["why"], _perhaps(told["until"]))


def _group(told: Mapping[str, Any]) -> Group:
    return Group(told["code"], int(told["count"]), tuple(told["rows"]), told["words"], told["advice"])


def _cause(word: str | None) -> Cause | None:
    return Cause(word) if word else None


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _perhaps(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
