"""Keeps a process of many threads on one core, the one that others leave the most of.

Python runs one thread at a time. With several cores at hand the kernel wakes the next thread on another one, each time
that the running one makes a system call: mostly for nothing, as that takes longer than the call. With hundreds of rows
in flight a third of a worker's time went into this. A process is never kept on more than it was given: one that is
bound from outside (`taskset`, a container's set of cores) stays where it is.

No two workers of one machine keep to the same core: whoever does holds its name, which ends with the process. Where all
cores are held, or others take too much of each, a worker runs where it may. Containers do not see each other's names:
they have only how busy the cores are to go by.
"""

import logging
import os
import random
import socket
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

STAT: Final = Path("/proc/stat")
_TASKS: Final = Path("/proc/self/task")
_IDLE: Final = slice(3, 5)
"""Of a core's counters: idle, and waiting for a disk."""
_COUNTED: Final = 8
"""What comes after them, time of guests, is counted in them as well."""
_WORTH_A_MOVE: Final = 0.2
"""Of a core, that others would take less of elsewhere."""
_TOO_MUCH: Final = 0.4
"""Of a core, for others to take: another worker is bound to it as well."""
NAME: Final = "\0reelq keeps to core {}"
"""Of a socket in no folder: it is gone with whoever holds it, however that ends."""

Used = dict[int, tuple[int, int]]
"""How long each core was busy, and how long it was there, in ticks."""


class Core:
    """Where this process runs."""

    def __init__(self, *, stat: Path = STAT, name: str = NAME) -> None:
        self._stat = stat
        self._name = name
        self._given = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set[int]()
        self._mine: int | None = None
        self._held: socket.socket | None = None
        self._seen = (time.monotonic(), time.process_time(), _used(self._stat, self._given))

    @property
    def is_worth_a_look(self) -> bool:
        """Whether there is a choice, and something to choose by."""
        return len(self._seen[2]) > 1

    def look(self) -> None:
        """Take the core that others use least; move only where that is clearly better than to stay."""
        then, worked, before = self._seen
        self._seen = now, working, used = time.monotonic(), time.process_time(), _used(self._stat, self._given)
        loads = _loads(before, used)
        if not loads:
            return
        here = float("inf")
        if self._mine in loads:
            # Where two are bound to one core both see the same, and one of them is to stay.
            if random.random() < 1 / 2:
                return
            here = loads[self._mine] = loads[self._mine] - (working - worked) / (now - then)
        for core in sorted(random.sample(sorted(loads), len(loads)), key=lambda core: round(loads[core], 1)):
            if here <= loads[core] + _WORTH_A_MOVE:
                break
            if held := _hold(self._name.format(core)):
                self._move({core}, core, held)
                return
        if here > _TOO_MUCH:
            self.leave()

    def leave(self) -> None:
        """Run wherever it may, as before."""
        if self._mine is not None:
            self._move(self._given, None, None)

    def _move(self, cores: Collection[int], mine: int | None, held: socket.socket | None) -> None:
        try:
            for _ in range(2):  # a thread that begins meanwhile is where the one is that began it
                _bind(cores)
        except OSError as error:
            log.info("it is not ours to choose a core: %s", error)
            self._given, mine = set(), None
            if held:
                held.close()
                held = None
        if self._held:
            self._held.close()
        self._mine, self._held = mine, held
        if mine is not None:
            log.debug("on core %d", mine)


def _hold(name: str) -> socket.socket | None:
    """None where another worker holds it."""
    holder = socket.socket(socket.AF_UNIX)
    try:
        holder.bind(name)
    except OSError:
        holder.close()
        return None
    return holder


def _bind(cores: Collection[int]) -> None:
    """All threads that there are."""
    for thread in _TASKS.iterdir():
        with suppress(ProcessLookupError):  # it has ended
            os.sched_setaffinity(int(thread.name), cores)


def _used(stat: Path, cores: Collection[int]) -> Used:
    """Nothing where the system does not tell."""
    used: Used = {}
    try:
        lines = stat.read_text(encoding="ascii").splitlines()
    except OSError:
        return used
    for name, *counters in map(str.split, lines):
        core = name.removeprefix("cpu")
        if name != core and core.isdigit() and int(core) in cores:
            ticks = [int(each) for each in counters[:_COUNTED]]
            used[int(core)] = sum(ticks) - sum(ticks[_IDLE]), sum(ticks)
    return used


def _loads(before: Used, used: Used) -> dict[int, float]:
    """The part of its time that each core was busy."""
    spans = {core: (used[core][0] - before[core][0], used[core][1] - before[core][1]) for core in used.keys() & before}
    return {core: busy / whole for core, (busy, whole) in spans.items() if whole > 0}
