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


def cpu_seconds(*roots: int) -> float:
    """What these processes have used so far, with their children, living and ended."""
    stats = _stats()
    return sum(sum(map(int, (*stats[pid][_OWN], *stats[pid][_CHILDREN]))) for pid in _trees(roots, stats)) / _TICKS


def memory_mb(*roots: int) -> float:
    """What these processes hold now, with their living children; a page that several share counts in parts."""
    held = 0.0
    for pid in _trees(roots, _stats()):
        with suppress(OSError, KeyError):  # it ends as we look
            held += _noted_mb(pid, "smaps_rollup", "Pss")
    return held


def peak_mb(process: int | str = "self") -> float:
    """The most memory that this process, or another that still runs, has had, by Linux's own note of it.

    Not `ru_maxrss`: a process inherits that one from its parent, even if it is ten times as large.
    """
    return _noted_mb(process, "status", "VmHWM")


class Peak(threading.Thread):
    """Looks at the memory of some processes once a second, and keeps the most."""

    def __init__(self, *roots: int) -> None:
        super().__init__(daemon=True)
        self._roots = roots
        self._most = 0.0
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(_LOOK_EVERY):
            self._most = max(self._most, memory_mb(*self._roots))

    def stop(self) -> float:
        """The most, in MB."""
        self._over.set()
        self.join()
        return self._most


def _stats() -> dict[int, list[str]]:
    """The fields of every process's stat that come after its name, which can hold anything."""
    found = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with suppress(OSError):
                found[int(path.name)] = (path / "stat").read_text().rpartition(")")[2].split()
    return found


def _trees(roots: Iterable[int], stats: Mapping[int, list[str]]) -> list[int]:
    children = defaultdict(list)
    for pid, fields in stats.items():
        children[int(fields[_PARENT])].append(pid)
    found = [pid for pid in roots if pid in stats]
    for pid in found:  # which grows meanwhile
        found += children[pid]
    return found


def _noted_mb(process: int | str, file: str, what: str) -> float:
    lines = (line.split() for line in Path(f"/proc/{process}/{file}").read_text().splitlines())
    return int({words[0]: words[1] for words in lines if len(words) > 1}[f"{what}:"]) / 1024
