"""Parses the service's resources into the types that commands show, one function for each resource."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from reelq.cli.backends.base import BatchReport
from reelq.errors import Fault, ServiceRefused
from reelq.job import Cause, Stage, Status
from reelq.store.commands import ActionCounts
from reelq.store.db.models import BatchState
from reelq.store.queries.batch_status import Hold, Place, RowInMotion, Snapshot
from reelq.store.queries.events import RowEvent
from reelq.store.queries.lookup import BatchInfo, BatchInList, RowRef
from reelq.store.queries.rows import Group

P = ParamSpec("P")
T = TypeVar("T")


def parser(parse: Callable[P, T]) -> Callable[P, T]:
    """Wrap a parser: if it fails, the service has another version. The error says so and names the parser."""

    @wraps(parse)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return parse(*args, **kwargs)
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            detail = f"{parse.__name__}: {type(error).__name__} {error}"
            advice = "The service and this reelq have different versions: update the older one."
            raise ServiceRefused(f"The service's answer can't be understood ({detail})", advice) from None

    return wrapper


@parser
def batch_report(data: Mapping[str, Any]) -> BatchReport:
    """The state of a batch, and why rows of it failed or wait."""
    return BatchReport(
        _snapshot(data), [_group(item) for item in data["failures"]], [_group(item) for item in data["waits"]]
    )


@parser
def batch_summary(data: Mapping[str, Any]) -> BatchInList:
    """A batch in a list."""
    counts = Counter({Status(status): int(count) for status, count in data["counts"].items()})
    return BatchInList(_listed(data), counts, int(data["credits"]))


@parser
def listed(data: Mapping[str, Any]) -> BatchInfo:
    """A batch without its counts."""
    return _listed(data)


@parser
def row_position(data: Mapping[str, Any]) -> RowRef:
    """The position of a row. The owner stays empty: the service has checked it already."""
    return RowRef(str(data["id"]), str(data["batch"]), "", int(data["row"]))


@parser
def status(data: Mapping[str, Any]) -> Status:
    """The status of a row."""
    return Status(data["status"])


@parser
def action_counts(data: Mapping[str, Any]) -> ActionCounts:
    """The row counts of an action."""
    return ActionCounts(int(data["done"]), not_so=int(data["not_so"]), soon=int(data["soon"]))


@parser
def event(text: str) -> RowEvent:
    """One event of a stream."""
    data = json.loads(text)
    return RowEvent(
        id=int(data["id"]), at=_parse_time(data["at"]), job_id=data["job"], row=int(data["row"]), name=data["name"],
        file=data["file"], instruction=data["instruction"], what=data["what"], stage=Stage(data["stage"]),
        before=data["before"], after=data["after"], words=data["words"],
    )  # fmt: skip


@parser
def fault(data: Mapping[str, Any]) -> Fault:
    """A fault of a manifest, or a warning about it."""
    texts = {name: str(data[name]) for name in ("column", "message", "value", "hint")}
    return Fault(line=int(data["line"]), row=int(data["row"]), **texts)


def _snapshot(data: Mapping[str, Any]) -> Snapshot:
    return Snapshot(
        at=_parse_time(data["at"]), batch_id=data["id"], name=data["name"], source="", out="",
        state=BatchState(data["state"]), released=data["released"], limit_credits=data["limit_credits"],
        created_at=_parse_time(data["created_at"]), finished_at=_parse_optional_time(data["finished_at"]),
        places=tuple(_place(item) for item in data["places"]),
        held=int(data["held"]), credits=int(data["credits"]), shared=bool(data["shared"]),
        rows=tuple(_moving(item) for item in data["moving"]), holds=tuple(_hold(item) for item in data["holds"]),
        tended=bool(data["tended"]), twins_move=bool(data["twins_move"]),
    )  # fmt: skip


def _listed(data: Mapping[str, Any]) -> BatchInfo:
    return BatchInfo(
        id=data["id"], name=data["name"], source="", state=BatchState(data["state"]),
        created_at=_parse_time(data["created_at"]), finished_at=_parse_optional_time(data["finished_at"]),
    )  # fmt: skip


def _place(data: Mapping[str, Any]) -> Place:
    return Place(Stage(data["stage"]), Status(data["status"]), _cause(data["cause"]), int(data["count"]))


def _moving(data: Mapping[str, Any]) -> RowInMotion:
    return RowInMotion(
        job_id=data["job"], row=int(data["row"]), name=data["name"], file=data["file"],
        instruction=data["instruction"], stage=Stage(data["stage"]), status=Status(data["status"]),
        words=data["words"], since=_parse_time(data["since"]),
    )  # fmt: skip


def _hold(data: Mapping[str, Any]) -> Hold:
    return Hold(_cause(data["cause"]), data["why"], _parse_optional_time(data["until"]))


def _group(data: Mapping[str, Any]) -> Group:
    return Group(data["code"], int(data["count"]), tuple(data["rows"]), data["words"], data["advice"])


def _cause(word: str | None) -> Cause | None:
    return Cause(word) if word else None


def _parse_time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _parse_optional_time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
