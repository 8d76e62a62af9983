"""What processes use, with all that they start: the processor's time, and memory where pages are shared fairly.

Linux alone can tell, by /proc. The time of a child that has ended is its parent's from then on, so none is forgotten.
"""

import os
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_LOOK_EVERY: Final = 1.0
_PARENT, _OWN, _CHILDREN = 1, slice(11, 13), slice(13, 15)


def cpu_seconds(roots: Iterable[int]) -> float:
    """What these processes have used so far, with their children, living and ended."""
    stats = _stats()
    return sum(sum(map(int, (*stats[pid][_OWN], *stats[pid][_CHILDREN]))) for pid in _trees(roots, stats)) / _TICKS


def memory_mb(roots: Iterable[int]) -> float:
    """What these processes hold now, with their living children; a page that several share counts in parts."""
    return sum(map(_held_kb, _trees(roots, _stats()))) / 1024


def peak_mb(process: int | str = "self") -> float:
    """The most memory that this process, or another that still runs, has had, by Linux's own note of it.

    Not `ru_maxrss`: a process inherits that one from its parent, even if it is ten times as large.
    """
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) / 1024


class Peak(threading.Thread):
    """Looks at the memory of a few groups of processes once a second, and keeps the most of each."""

    def __init__(self, groups: Mapping[str, list[int]]) -> None:
        super().__init__(daemon=True)
        self.groups = groups
        self.most: dict[str, float] = defaultdict(float)
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(_LOOK_EVERY):
            self.look()

    def look(self) -> None:
        for name, roots in self.groups.items():
            self.most[name] = max(self.most[name], memory_mb(list(roots)))

    def stop(self) -> dict[str, float]:
        """The most of each group, in MB."""
        self._over.set()
        self.join()
        return dict(self.most)


def _stats() -> dict[int, list[str]]:
    """The fields of every process's stat that come after its name, which can hold anything."""
    found = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with suppress(OSError):  # it ends as we look
                found[int(path.name)] = (path / "stat").read_text().rpartition(")")[2].split()
    return found


def _trees(roots: Iterable[int], stats: Mapping[int, list[str]]) -> set[int]:
    children = defaultdict(list)
    for pid, fields in stats.items():
        children[int(fields[_PARENT])].append(pid)
    found: set[int] = set()
    waiting = [pid for pid in roots if pid in stats]
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting.extend(children[pid])
    return found


def _held_kb(pid: int) -> int:
    with suppress(OSError, StopIteration, ValueError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("Pss:")).split()[1])
    return 0
