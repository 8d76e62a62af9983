"""A worker that ends as a crash does, at one named moment of a job's life; the product itself knows no such moments.

A moment is called `<where>: <before or after> <step>`. Where is a stage, or a duty of the lifeline that has something
to do; a step is a call to the service by its name (`balance 2`, where it is the second), the rename of a finished file,
or `commit N`, the Nth transaction since that stage or duty began: `edit: before send`, `render: after commit 2`. Within
`send` there are two more: when the whole instruction has left, and when the service's answer begins.
"""

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Any, Final

import httpx

import reelq.dispatch
import worker.lifeline
import worker.pipeline
from reelq.job import Stage
from reelq.remote.client import Http, Remote
from reelq.remote.receipts import Progress, RenderStatus
from reelq.settings import Settings
from reelq.store import credits, jobs, turns
from reelq.store.due import Due
from reelq.store.jobs import Claimed, Lease, Missed
from reelq.store.session import Store, Transaction
from worker.looks import Looks
from worker.workbench import Workbench

CALLS: Final = ("open_session", "upload", "send", "state", "balance", "render", "progress", "download")
WITHIN_SEND: Final = {
    "http11.send_request_body.complete": "after the instruction has left",
    "http11.receive_response_headers.complete": "after the stream has begun",
}
"""By what the transport tells of a request's progress."""

DUTIES: Final = ("rescue", "due", "admit", "ended")
"""Of the lifeline. What is due and what is let in are in one transaction, one after another: the first that finds
something to do is where it is. The last one finds instructions whose costs are to be read."""

LOOKS: Final = {"_look": "look", "_settle": "seen"}
"""Of those who look at exports past Celery: one look, and where what was seen is written down."""

Called = Callable[..., Any]


class Here(threading.local):
    """Where one thread is: nowhere, until it claims a stage or finds something to do for the lifeline."""

    where = ""
    commits = 0

    def __init__(self) -> None:
        self.calls = Counter[str]()


class Moments:
    """Follows each thread through its stage or duty, and tells of every moment that it comes to."""

    def __init__(self, reached: Callable[[str], None]) -> None:
        self._reached = reached
        self._here = Here()

    def watch(self) -> None:
        """From now on, in this process."""
        self._wrap(Store, "write", self._transaction)
        self._wrap(Store, "alone", self._statement)
        self._wrap(worker.pipeline.Pipeline, "_claim", self._nowhere)
        self._wrap(jobs, "claim_free", self._claim_free)
        self._wrap(jobs, "claim", self._claim)
        for duty, lot in zip(DUTIES, (jobs, reelq.dispatch, turns, credits), strict=True):
            self._wrap(lot, duty, self._duty)
        for act in LOOKS:
            self._wrap(Looks, act, self._look)
        self._wrap(Workbench, "__init__", self._talkative)
        for call in CALLS:
            self._wrap(Remote, call, self._step)
        self._wrap(worker.pipeline, "ask_for_token", self._step)
        self._wrap(worker.pipeline, "open_http", self._traced)
        self._wrap(os, "replace", self._step)

    def _wrap(self, owner: object, name: str, wrapper: Callable[[str, Called], Called]) -> None:
        setattr(owner, name, wrapper(name, getattr(owner, name)))

    def _enter(self, where: str) -> None:
        """Steps of this thread belong to that from now on; nowhere, where it is empty."""
        self._here.where, self._here.commits, self._here.calls = where, 0, Counter()

    def _at(self, moment: str) -> None:
        if self._here.where:
            self._reached(f"{self._here.where}: {moment}")

    def _nowhere(self, _name: str, act: Called) -> Called:
        """Done with the stage before."""

        @wraps(act)
        def beginning(*args: Any, **kwargs: Any) -> Any:
            self._enter("")
            return act(*args, **kwargs)

        return beginning

    def _claim(self, _name: str, claim: Called) -> Called:
        @wraps(claim)
        def claiming(*args: Any, **kwargs: Any) -> Claimed | Missed:
            claimed: Claimed | Missed = claim(*args, **kwargs)
            self._enter(str(claimed.at.stage) if isinstance(claimed, Claimed) else "")
            return claimed

        return claiming

    def _claim_free(self, name: str, claim: Called) -> Called:
        claiming = self._claim(name, claim)

        @wraps(claim)
        def about_to_claim(
            session: Transaction, now: datetime, job_id: str, run: int, stage: Stage, lease: Lease
        ) -> Any:
            self._reached(f"{stage}: before commit 1")  # which its statement brings along
            return claiming(session, now, job_id, run, stage, lease)

        return about_to_claim

    def _duty(self, name: str, act: Called) -> Called:
        @wraps(act)
        def acting(*args: Any, **kwargs: Any) -> Any:
            found = act(*args, **kwargs)
            if name != "admit":  # a round begins
                self._enter("")
            if (any(found[:2]) if isinstance(found, Due) else found) and not self._here.where:
                self._enter(name)
            return found

        return acting

    def _look(self, name: str, act: Called) -> Called:
        @wraps(act)
        def looking(looks: Looks, about: Any) -> Any:
            self._enter(LOOKS[name])
            if name == "_settle" and any(seen.url for seen in about):
                self._here.where = f"last {LOOKS[name]}"
            return act(looks, about)

        return looking

    def _transaction(self, _name: str, write: Called) -> Called:
        @contextmanager
        def writing(store: Store, **how: bool) -> Iterator[Transaction]:
            with write(store, **how) as session:
                yield session
                # Counted only now: it is in its first transaction that a stage is claimed, and the count begins.
                self._here.commits += 1
                number = self._here.commits
                self._at(f"before commit {number}")
            self._at(f"after commit {number}")

        return writing

    def _statement(self, _name: str, alone: Called) -> Called:
        """As a transaction, but that the statement is committed with it: killed before, it was not made."""

        @contextmanager
        def writing(store: Store) -> Iterator[Transaction]:
            if store.is_sqlite:
                with alone(store) as session:  # a transaction like any other
                    yield session
                return
            with alone(store) as session:
                self._at(f"before commit {self._here.commits + 1}")
                yield session
            self._here.commits += 1
            self._at(f"after commit {self._here.commits}")

        return writing

    def _step(self, name: str, call: Called) -> Called:
        @wraps(call)
        def calling(*args: Any, **kwargs: Any) -> Any:
            step = self._numbered(name)
            self._at(f"before {step}")
            answer = call(*args, **kwargs)
            if isinstance(answer, Progress) and answer.status is RenderStatus.DONE:
                self._here.where = f"last {self._here.where}"
            self._at(f"after {step}")
            return answer

        return calling

    def _numbered(self, call: str) -> str:
        """The second call of its kind since the stage began is `state 2`."""
        self._here.calls[call] += 1
        count = self._here.calls[call]
        return f"{call} {count}" if count > 1 else call

    def _talkative(self, _name: str, init: Called) -> Called:
        """As in a stage that lasts, its first word about its progress is told."""

        @wraps(init)
        def making(bench: Workbench, *args: Any, **kwargs: Any) -> None:
            init(bench, *args, **kwargs)
            bench._said_at -= 10

        return making

    def _traced(self, _name: str, open_http: Called) -> Called:
        def trace(event: str, _info: Mapping[str, Any]) -> None:
            if moment := WITHIN_SEND.get(event):
                self._at(moment)

        def begin(request: httpx.Request) -> None:
            if request.url.path == "/run_sse":
                request.extensions["trace"] = trace

        @wraps(open_http)
        def opening(settings: Settings) -> Http:
            http: Http = open_http(settings)
            http.lasting.event_hooks["request"].append(begin)
            return http

        return opening


def watch(*, ends_at: str = "", trace: Path | None = None) -> None:
    """End this process when the moment has come; or write all moments down as they come, a line each."""
    if ends_at:
        Moments(lambda moment: _die() if moment == ends_at else None).watch()
    elif trace:
        Moments(lambda moment: _note(trace, moment)).watch()
    # While the row is on its way to its export: else it would depend on chance whether the row itself is quicker.
    worker.lifeline._COSTS_EVERY = 0.1  # type: ignore[misc]


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _note(trace: Path, moment: str) -> None:
    with trace.open("a") as file:
        file.write(f"{moment}\n")
