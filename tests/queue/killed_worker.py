"""A worker that ends as a crash does, at one named moment of a job's life; the product itself knows no such moments.

A moment is called `<where>: <before or after> <step>`. Where is a stage, from its claim on, or a thread of the lifeline
by its name. A step is a call to the service by its name, the rename of a finished file, or `writing` and what a
transaction writes: `edit: before send`, `edit: after writing sends`, `upload: before writing jobs.stage=edit`. What a
stage does a second time has a number: `edit: before balance 2`. Within `send` there are two more moments: when the
whole instruction has left, and when the service's answer begins.

A transaction that writes several things comes to a moment for each: the names stay when transactions are merged.
"""

import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial, wraps
from itertools import chain
from pathlib import Path
from typing import Any, Final

import httpx
from sqlalchemy import Engine, event
from sqlalchemy.engine.default import DefaultDialect

from reelq.nemo.client import Remote
from reelq.nemo.types import Progress, RenderStatus
from reelq.store.db.models import Base
from worker import db_context, maintenance

# All that is hooked into. Where a redesign takes a name away, its successor goes here.
CALLS: Final = ("open_session", "upload", "send", "state", "balance", "render", "progress", "download")
HOOKS: Final[Mapping[Any, Mapping[str, str]]] = {
    Remote: dict.fromkeys(CALLS, "_step"),
    os: {"replace": "_step"},
    httpx.Client: {"send": "_request"},
    DefaultDialect: {"do_execute": "_statement", "do_executemany": "_statement", "do_commit": "_commit"},
}
"""What is wrapped, by which method of `Moments`; the service's calls are the only part of the product."""
OFTEN: Final = ((maintenance, "COSTS_EVERY", 0.1), (db_context, "PROGRESS_EVERY", 0.0))
"""Costs are read while the row is on its way to its export, or it would depend on chance which of them is the quicker;
and a stage's first words about its progress are told, as in one that lasts."""
WRITES: Final[Mapping[str, Sequence[str]]] = {
    "jobs": ("stage", "status", "remote_render_id", "result_url", "due_at", "admitted"),
    "sends": ("bears_costs",),
    "accounts": ("token", "refreshing_until", "reading_until"),
    "credit_readings": (),
    "job_events": (),
}
"""By table: an insert is called by that, an update by the first of these columns that it sets to something."""
DUTY: Final = re.compile(r"reelq (.+?)(?: \d+)?")
"""Of the lifeline's threads, by their names."""
CLAIM: Final = "jobs.status=running"
WORDS: Final = "job_events"
"""Most writes bring an event along, which is no moment by itself; and words about progress come as often as they do."""
INSTRUCTION: Final = "/run_sse"
TOKEN: Final = "/api/auth/anonymous-token"
WITHIN_SEND: Final = {
    "http11.send_request_body.complete": "after the instruction has left",
    "http11.receive_response_headers.complete": "after the stream has begun",
}
"""By what the transport tells of a request's progress."""

_TABLES: Final = Base.metadata.tables
_KNOWN: Final = {*_TABLES, *(str(column) for table in _TABLES.values() for column in table.columns)}
_GONE: Final = [
    *(f"{owner.__name__}.{name}" for owner, names in HOOKS.items() for name in names if not hasattr(owner, name)),
    *(f"{owner.__name__}.{name}" for owner, name, _ in OFTEN if not hasattr(owner, name)),
    *sorted({*WRITES, *(f"{table}.{name}" for table, names in WRITES.items() for name in names)} - _KNOWN),
]
if _GONE:
    raise ImportError(f"kill points hook into what is gone, see the top of {__name__}: {', '.join(_GONE)}")

_WRITE: Final = re.compile(r"\bINSERT INTO (\w+)|\bUPDATE (\w+) SET (.*?)(?=\s(?:WHERE|FROM|RETURNING)\s|$)", re.DOTALL)
_GIVEN: Final = r"(\?|%\((\w+)\)s)"
_CLAIMED: Final = re.compile(rf"\bjobs\.stage = {_GIVEN}")

Called = Callable[..., Any]


class Here(threading.local):
    """Which stage one thread is in, and how often it has come to each step of it; none, until it claims one."""

    stage = ""

    def __init__(self) -> None:
        self.steps = Counter[str]()


class Moments:
    """Follows each thread through its stage or duty, and tells of every moment that it comes to."""

    def __init__(self, reached: Callable[[str], None]) -> None:
        self._reached = reached
        self._here = Here()

    def watch(self) -> None:
        """From now on, in this process."""
        event.listen(Engine, "begin", lambda connection: connection.info.pop("writes", None))
        for owner, names in HOOKS.items():
            for name, wrapper in names.items():
                act = getattr(owner, name)
                setattr(owner, name, wraps(act)(getattr(self, wrapper)(name, act)))

    def _at(self, moment: str) -> None:
        duty = DUTY.fullmatch(threading.current_thread().name)
        if where := self._here.stage or (duty and duty[1]):
            self._reached(f"{where}: {moment}")

    def _numbered(self, step: str) -> str:
        self._here.steps[step] += 1
        count = self._here.steps[step]
        return f"{step} {count}" if count > 1 and self._here.stage and step != f"writing {WORDS}" else step

    def _step(self, name: str, call: Called) -> Called:
        def calling(*args: Any, **kwargs: Any) -> Any:
            step = self._numbered(name)
            self._at(f"before {step}")
            answer = call(*args, **kwargs)
            done = isinstance(answer, Progress) and answer.status is RenderStatus.DONE
            self._at(f"after {step}{', done' if done else ''}")
            return answer

        return calling

    def _request(self, _name: str, send: Called) -> Called:
        """What is told of a request beside the call that makes it."""
        asking = self._step("ask_for_token", send)

        def trace(event: str, _info: Mapping[str, Any]) -> None:
            if moment := WITHIN_SEND.get(event):
                self._at(moment)

        def sending(client: httpx.Client, request: httpx.Request, **how: Any) -> Any:
            if request.url.path == INSTRUCTION:
                request.extensions["trace"] = trace
            return (asking if request.url.path == TOKEN else send)(client, request, **how)

        return sending

    def _writing(self, things: Sequence[str], write: Callable[[], None], has_written: Callable[[], object]) -> None:
        steps = [self._numbered(f"writing {thing}") for thing in things if thing != WORDS or len(things) == 1]
        for step in steps:
            self._at(f"before {step}")
        write()
        for step in steps if has_written() else ():
            self._at(f"after {step}")

    def _statement(self, _name: str, execute: Called) -> Called:
        """Where it is a transaction by itself, a killed worker has not made it; else its transaction is told of."""

        def executing(dialect: DefaultDialect, cursor: Any, sql: str, given: Any, context: Any = None) -> None:
            things = list(_written(sql, given))
            if CLAIM in things:
                found = _CLAIMED.search(sql)
                assert found, f"a claim that names no stage: {sql}"
                self._here.stage = _value(found, sql, given)
                self._here.steps.clear()
            connection = context.root_connection
            make = partial(execute, dialect, cursor, sql, given, context)
            if connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
                self._writing(things, make, lambda: cursor.rowcount)
                return
            make()
            if things:
                connection.info.setdefault("writes", []).append((cursor, cursor.rowcount, things))

        return executing

    def _commit(self, _name: str, commit: Called) -> Called:
        def committing(dialect: DefaultDialect, connection: Any) -> None:
            # SQLite counts the rows of a statement that returns them later; a cursor of PostgreSQL soon forgets them.
            writes = connection.info.pop("writes", ())
            made = (things for cursor, count, things in writes if max(count, cursor.rowcount) > 0)
            things = list(dict.fromkeys(chain.from_iterable(made)))
            self._writing(things, lambda: commit(dialect, connection), lambda: True)

        return committing


def _written(sql: str, given: Any) -> Iterator[str]:
    """What a statement writes, by the names of `WRITES`."""
    for write in _WRITE.finditer(sql):
        if write[1] in WRITES:
            yield write[1]
        for column in WRITES.get(write[2], ()):
            found = re.compile(rf"\b{column}={_GIVEN}?").search(sql, write.start(3), write.end(3))
            value = _value(found, sql, given) if found and found[1] else found
            if value is not None:
                yield f"{write[2]}.{column}" + (f"={value}" if column in {"stage", "status"} else "")
                break


def _value(found: re.Match[str], sql: str, given: Any) -> Any:
    """What a statement is executed with at this place; of many rows, with the first."""
    row = given[0] if isinstance(given, list) else given
    return row[found[2]] if found[2] else row[sql.count("?", 0, found.start(1))]


def watch(*, ends_at: str = "", trace: Path | None = None) -> None:
    """End this process when the moment has come; or write all moments down as they come, a line each."""
    if ends_at:
        Moments(lambda moment: _die() if moment == ends_at else None).watch()
    elif trace:
        Moments(lambda moment: _note(trace, moment)).watch()
    for module, name, seconds in OFTEN:
        setattr(module, name, seconds)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _note(trace: Path, moment: str) -> None:
    with trace.open("a") as file:
        file.write(f"{moment}\n")
