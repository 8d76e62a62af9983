"""One contender's run from the first process to the last figure, also where its worker is killed half-way."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import psycopg

from tests.benchmarks.contenders import Command, Contender
from tests.benchmarks.grounds import Ground
from tests.benchmarks.usage import Peak, cpu_seconds, peak_mb

Figures = dict[str, Any]

_START_SECONDS: Final = 120
_LOOK_EVERY: Final = 0.1
_STOP_SECONDS: Final = 10
_LONGEST: Final = 600.0
_PATIENCE: Final = 100.0
"""Seconds without a request after which a user gives up waiting and hands in again."""
_CLAIMED_AGAIN: Final = """
SELECT extract(epoch FROM max(taken)), extract(epoch FROM max(claimed)), count(*) FILTER (WHERE claimed IS NULL)
FROM (
  SELECT min(at) FILTER (WHERE what = 'rescued') AS taken,
    min(at) FILTER (WHERE what = 'running' AND at > to_timestamp(%(killed)s)) AS claimed
  FROM job_events GROUP BY job_id
  HAVING min(at) FILTER (WHERE what = 'running') <= to_timestamp(%(killed)s)
    AND max(at) > to_timestamp(%(killed)s)
) AS under_way
"""


class Run:
    """One process of a contender, in a group of its own, so that it can be killed with all its children."""

    def __init__(self, command: Command, environment: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                command, env=environment, cwd=log.parent, stdout=file, stderr=file, start_new_session=True
            )
        self.pid = self.process.pid
        self._used: float | None = None

    @property
    def over(self) -> bool:
        """Whether it has ended; if so, what it used in all is known."""
        if self._used is None:
            ended, status, used = os.wait4(self.pid, os.WNOHANG)
            if ended:
                self._used = used.ru_utime + used.ru_stime
                self.process.returncode = os.waitstatus_to_exitcode(status)
        return self._used is not None

    @property
    def cpu_seconds(self) -> float:
        return self._used or 0.0 if self.over else cpu_seconds(self.pid)

    def wait_for(self, words: str) -> None:
        """Until it has written them."""
        if not until(lambda: self.over or words in self.log.read_text(errors="replace"), _START_SECONDS) or self.over:
            raise RuntimeError(f"not ready: {self.tail()}")

    def kill(self, by: signal.Signals = signal.SIGKILL) -> None:
        """With SIGKILL, as the kernel does when memory is short: nobody has time to clean up."""
        if not self.over:
            os.killpg(self.pid, by)
            until(lambda: self.over, _STOP_SECONDS)

    def stop(self) -> None:
        self.kill(signal.SIGTERM)
        self.kill()

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]


@dataclass(frozen=True, slots=True)
class Used:
    """What one process took, with its children, from its start to its end."""

    seconds: float
    cpu: float
    peak_mb: float


def seen_through(command: Command, environment: dict[str, str], log: Path, code: int = 0) -> Used:
    """Run a command to the end that it is to have, which may take some minutes."""
    began, peak, run = time.monotonic(), 0.0, Run(command, environment, log)
    while not run.over:
        if time.monotonic() - began > _LONGEST:
            run.kill()
        with suppress(OSError, KeyError):  # it ends as we look
            peak = max(peak, peak_mb(run.pid))
        time.sleep(0.02)
    if run.process.returncode != code:
        raise RuntimeError(run.tail())
    return Used(time.monotonic() - began, run.cpu_seconds, peak)


@contextmanager
def rest_service(environment: dict[str, str], folder: Path, port: int) -> Iterator[Run]:
    """The REST service, once it answers, until the end."""
    command = [sys.executable, "-m", "uvicorn", "api.app:app", "--port", str(port), "--ws", "none"]
    api = Run(command, environment, folder / "api.log")
    try:
        api.wait_for("Uvicorn running")
        yield api
    finally:
        api.stop()


class Race:
    """A contender on its ground: servers and workers, then the rows."""

    def __init__(self, contender: Contender, ground: Ground) -> None:
        self.contender = contender
        self.ground = ground
        self.environment = {**ground.environment, **contender.environment(ground)}
        self.servers: list[Run] = []
        self.workers: list[Run] = []
        self.handed_in: list[Run] = []

    def prepare(self) -> None:
        """Everything that would be running anyway."""
        if self.contender.prepare:
            seen_through(self.contender.prepare, self.environment, self.ground.folder / "prepare.log")
        if self.contender.server:
            command, address = self.contender.server(self.ground)
            self.servers = [self._start(command, "server")]
            if not until(lambda: _answers(address), _START_SECONDS):
                raise RuntimeError(self.servers[0].tail())
        self.start_workers()

    def start_workers(self) -> None:
        """Also again, after they were killed."""
        commands = self.contender.workers(self.ground) if self.contender.workers else []
        self.workers = [self._start(command, "worker") for command in commands]
        for run in self.workers:
            run.wait_for(self.contender.ready)

    def hand_in(self) -> None:
        self.handed_in.append(self._start(self.contender.hand_in(self.ground), "handing-in"))

    def retry(self) -> None:
        """What failed goes again, in words of the contender's; whoever works by itself is what works then."""
        command = self.contender.retry
        assert command
        run = self._start(command(self.ground), "retry")
        if self.contender.works_by_itself:
            self.handed_in.append(run)
        else:
            until(lambda: run.over, _START_SECONDS)

    def stop(self) -> None:
        for run in [*self.handed_in, *self.workers, *self.servers]:
            run.stop()

    @property
    def working(self) -> list[Run]:
        """Whoever takes the rows through."""
        return self.handed_in if self.contender.works_by_itself else self.workers

    def is_complete(self) -> bool:
        return len(self.ground.results()) >= self.ground.rows

    def is_given_up(self) -> bool:
        """Whether nobody is left who could go on."""
        return all(run.over for run in self.working)

    def cpu(self) -> dict[str, float]:
        """Seconds of the processor that each part has used so far."""
        ground, itself = self.ground, self.contender.works_by_itself
        return {
            "worker": sum(run.cpu_seconds for run in self.working),
            "handing_in": 0.0 if itself else sum(run.cpu_seconds for run in self.handed_in),
            "server": sum(run.cpu_seconds for run in self.servers),
            "broker": cpu_seconds(ground.redis.process.pid),
            "database": cpu_seconds(ground.postgres.process.pid),
            "sandbox": cpu_seconds(ground.sandbox.process.pid),
        }

    def _start(self, command: Command, name: str) -> Run:
        count = len(list(self.ground.folder.glob(f"{name}-*.log")))
        return Run(command, self.environment, self.ground.folder / f"{name}-{count}.log")


@contextmanager
def prepared(contender: Contender, ground: Ground) -> Iterator[Race]:
    """A race whose processes all end with it."""
    race = Race(contender, ground)
    try:
        race.prepare()
        yield race
    finally:
        race.stop()


def run(contender: Contender, ground: Ground, limit: float) -> Figures:
    """From handing in to the last result, or to the limit."""
    with prepared(contender, ground) as race:
        before = race.cpu()
        began, clock = time.time(), time.monotonic()
        race.hand_in()
        peak = Peak(*(one.pid for one in race.working))
        peak.start()
        until(lambda: race.is_complete() or race.is_given_up(), limit, ground.look_every)
        waited = time.monotonic() - clock
        after, most = race.cpu(), peak.stop()
        books, done = ground.books(), ground.done()
        said = "" if race.is_complete() else race.working[0].tail()
    cpu_s = {name: after[name] - before[name] for name in after}
    ideal = ground.latencies.ideal(ground.rows, ground.at_once)
    makespan = max(done) - began if len(done) >= ground.rows else None
    figures = {
        "done": len(done),
        "finished": makespan is not None,
        "waited_s": waited,
        "makespan_s": makespan,
        "ideal_s": ideal,
        "over_ideal": None if makespan is None else makespan / ideal,
        "cpu_s": cpu_s,
        "cpu_ms_per_row": {name: 1000 * each / max(1, len(done)) for name, each in cpu_s.items()},
        "peak_mb": {"worker": most},
        **books.figures(ground.latencies.look_every),
    }
    return {**figures, "said": said} if said else figures


def kill(contender: Contender, ground: Ground, limit: float, patience: float = _PATIENCE) -> Figures:
    """SIGKILL when half of the rows are in the edit or beyond, then what a user would do, step by step."""
    with prepared(contender, ground) as race:
        race.hand_in()
        began = time.monotonic()
        half = ground.rows / 2
        if not until(lambda: ground.asked("edit") >= half or race.is_given_up(), limit, ground.look_every):
            return {"killed": False, "said": "half of the rows did not come to the edit in time"}
        killed, at = time.monotonic(), time.time()
        for worker in race.working:
            worker.kill()
        if not race.is_given_up():
            raise RuntimeError("a worker outlived SIGKILL")
        steps = _mend(race, limit, patience)
        books, done = ground.books(), ground.done()
        gone = list(books.going_on(killed).values())
        events = _events(ground, at) if contender.keeps_events else {}
    seconds = [each for each in gone if each is not None]
    return {
        "killed": True,
        "killed_after_s": killed - began,
        "under_way": len(gone),
        "lost": ground.rows - len(done),
        "sent_twice": books.sent_twice(),
        "first_going_on_s": min(seconds, default=None),
        "all_going_on_s": max(seconds) if gone and len(seconds) == len(gone) else None,
        "never_went_on": len(gone) - len(seconds),
        "human": steps,
        "whole_after_s": max(done) - at if len(done) >= ground.rows else None,
        **events,
    }


def _events(ground: Ground, killed: float) -> Figures:
    """When the last row was taken back from the dead worker, and when each that had been begun was claimed again."""
    with psycopg.connect(ground.database) as connection:
        row = connection.execute(_CLAIMED_AGAIN, {"killed": killed}).fetchone()
    taken, claimed, never = row or (None, None, 0)
    return {
        "taken_back_s": None if taken is None else float(taken) - killed,
        "claimed_again_s": None if claimed is None or never else float(claimed) - killed,
    }


def _mend(race: Race, limit: float, patience: float) -> list[str]:
    """What it took until all rows had results: the steps of a user who tries the least first."""
    steps: list[tuple[str, Callable[[], None]]] = (
        [("the same command again", race.hand_in)]
        if race.contender.works_by_itself
        else [("start the worker again", race.start_workers), ("hand the manifest in again", race.hand_in)]
    )
    if race.contender.retry:
        steps.append(("retry what it says has failed", race.retry))
    taken = []
    for words, act in steps:
        act()
        taken.append(words)
        _watch(race, limit, patience)
        if race.is_complete():
            return taken
    return [*taken, "look through the results by hand"]


def _watch(race: Race, limit: float, patience: float) -> None:
    """Until all is there, or nothing has been asked of the service for too long."""
    deadline, quiet_since, asked = time.monotonic() + limit, time.monotonic(), -1
    while not race.is_complete() and time.monotonic() < min(deadline, quiet_since + patience):
        if race.contender.works_by_itself and race.handed_in[-1].over:
            return
        count = sum(race.ground.sandbox.ledger()["requests"].values())
        if count != asked:
            asked, quiet_since = count, time.monotonic()
        time.sleep(1)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False, timeout=5).is_success
    except httpx.TransportError:
        return False


def until(met: Callable[[], object], seconds: float, every: float = _LOOK_EVERY) -> bool:
    """Wait for it; False where the time is over."""
    deadline = time.monotonic() + seconds
    while not met():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True
