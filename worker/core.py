"""Pins a process with many threads to one CPU core, the one with the lowest load.

Python runs one thread at a time. If several cores are available, the kernel wakes the next thread on another core each
time the running thread makes a system call. This is mostly wasted, as waking the thread takes longer than the call.
With hundreds of rows in flight, it cost a third of a worker's time. The process never leaves the set of cores that it
started with, so a limit set by `taskset` or a container still holds.

No two workers on a machine pin themselves to the same core: each holds a socket name for its core, which the kernel
frees when the process ends. If all cores are held, or other processes load them too much, a worker runs unpinned.
Containers do not see each other's socket names, so they go by the load alone.
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
_THREADS: Final = Path("/proc/self/task")
_IDLE_COUNTERS: Final = slice(3, 5)
"""Positions of the `idle` and `iowait` counters of a core in `/proc/stat`."""
_COUNTERS: Final = 8
"""The counters to add up. Guest time comes after them, but is already included in them."""
_MIN_GAIN: Final = 0.2
"""Move only if the load on the new core is lower by at least this share of a core."""
_MAX_FOREIGN_LOAD: Final = 0.4
"""Unpin if other processes use more than this share of the core: another worker is probably pinned to it too."""
NAME: Final = "\0reelq keeps to core {}"
"""An abstract socket name. The kernel frees it when its holder ends, even if it is killed."""

Used = dict[int, tuple[int, int]]
"""For each core, its busy ticks and its total ticks."""


class Core:
    """The core that this process is pinned to, if any."""

    def __init__(self, *, stat: Path = STAT, name: str = NAME) -> None:
        self._stat = stat
        self._name = name
        self._allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set[int]()
        self._pinned_core: int | None = None
        self._claim: socket.socket | None = None
        self._last_sample = (time.monotonic(), time.process_time(), _usage(self._stat, self._allowed))

    @property
    def has_choice(self) -> bool:
        """Whether there are several cores to choose from, and the system reports their load."""
        return len(self._last_sample[2]) > 1

    def rebind(self) -> None:
        """Pin the process to the core that others use least, if that is clearly better than the current one."""
        sampled_at, cpu_then, before = self._last_sample
        self._last_sample = sampled_now, cpu_now, usage = (
            time.monotonic(),
            time.process_time(),
            _usage(self._stat, self._allowed),
        )
        loads = _loads(before, usage)
        if not loads:
            return
        current_load = float("inf")
        if self._pinned_core in loads:
            # Two workers pinned to one core see the same load. Skip at random, so that only one of them moves.
            if random.random() < 1 / 2:
                return
            current_load = loads[self._pinned_core] = loads[self._pinned_core] - (cpu_now - cpu_then) / (
                sampled_now - sampled_at
            )
        for core in sorted(random.sample(sorted(loads), len(loads)), key=lambda core: round(loads[core], 1)):
            if current_load <= loads[core] + _MIN_GAIN:
                break
            if claim := _claim_name(self._name.format(core)):
                self._move_to({core}, core, claim)
                return
        if current_load > _MAX_FOREIGN_LOAD:
            self.leave()

    def leave(self) -> None:
        """Unpin: allow all cores that the process started with."""
        if self._pinned_core is not None:
            self._move_to(self._allowed, None, None)

    def _move_to(self, cores: Collection[int], core: int | None, claim: socket.socket | None) -> None:
        try:
            for _ in range(2):  # twice, for threads started meanwhile: they inherit the old cores
                _bind(cores)
        except OSError as error:
            log.info("Cannot set the CPU affinity: %s", error)
            self._allowed, core = set(), None
            if claim:
                claim.close()
                claim = None
        if self._claim:
            self._claim.close()
        self._pinned_core, self._claim = core, claim
        if core is not None:
            log.debug("Pinned to core %d", core)


def _claim_name(name: str) -> socket.socket | None:
    """Bind a socket to the name. Return None if another worker holds it."""
    holder = socket.socket(socket.AF_UNIX)
    try:
        holder.bind(name)
    except OSError:
        holder.close()
        return None
    return holder


def _bind(cores: Collection[int]) -> None:
    """Pin every thread of this process to these cores."""
    for thread in _THREADS.iterdir():
        with suppress(ProcessLookupError):  # the thread has ended
            os.sched_setaffinity(int(thread.name), cores)


def _usage(stat: Path, cores: Collection[int]) -> Used:
    """Return the ticks of each core since boot, or nothing if the system has no such file."""
    usage: Used = {}
    try:
        lines = stat.read_text(encoding="ascii").splitlines()
    except OSError:
        return usage
    for name, *counters in map(str.split, lines):
        core = name.removeprefix("cpu")
        if name != core and core.isdigit() and int(core) in cores:
            ticks = [int(count) for count in counters[:_COUNTERS]]
            usage[int(core)] = sum(ticks) - sum(ticks[_IDLE_COUNTERS]), sum(ticks)
    return usage


def _loads(before: Used, after: Used) -> dict[int, float]:
    """Return the share of the time between two samples that each core was busy."""
    deltas = {
        core: (after[core][0] - before[core][0], after[core][1] - before[core][1]) for core in after.keys() & before
    }
    return {core: busy / total for core, (busy, total) in deltas.items() if total > 0}
