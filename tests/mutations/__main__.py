"""`python -m tests.mutations`: break the engine in a copy, once for each mutation, and see whether the tests notice.

Exits with 1 where a mutation survives, and with 2 where nothing could be told: the whole copy is not green, or a
mutation does not fit the code any more.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from tests.mutations.checkout import Copy, Mutation, Outdated, Ran, catalogue

_KILLED, _SURVIVED, _CRASHED = "killed", "SURVIVED", "CRASHED"
"""One that crashed failed a test by an error that any test would fail by: it is no mutation."""
_NO_ASSERTIONS: Final = {
    "NameError",
    "ImportError",
    "ModuleNotFoundError",
    "SyntaxError",
    "AttributeError",
    "TypeError",
}
"""What a clumsy mutation makes of the code. A test that fails by it proves nothing."""


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("select", nargs="*", help="areas, or parts of names; all mutations where none is given")
    parser.add_argument("--list", action="store_true", help="list the mutations and run nothing")
    parser.add_argument("--at-once", type=int, default=2, metavar="N", help="copies to work in at once (2)")
    asked = parser.parse_args()
    try:
        chosen = _chosen(asked.select)
        for each in chosen:
            each.check()
    except (Outdated, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 2
    if asked.list:
        for each in chosen:
            print(f"{each.area:15} {each.name}  [{each.file}; {' '.join(each.tests)}]")
        return 0
    with tempfile.TemporaryDirectory(prefix="reelq-mutations-") as name:
        Path(name).chmod(0o755)  # PostgreSQL runs as another user
        copies = [Copy(Path(name, str(number))) for number in range(asked.at_once)]
        return _run(copies, chosen) if _is_green(copies, chosen) else 2


def _chosen(select: Sequence[str]) -> list[Mutation]:
    known = list(catalogue())
    chosen = set()
    for word in map(str.lower, select):
        found = {each for each in known if word == each.area.lower() or word in each.name.lower()}
        if not found:
            areas = ", ".join(dict.fromkeys(each.area for each in known))
            raise Outdated(f"no mutation is called {word!r}, and no area; the areas: {areas}")
        chosen |= found
    return [each for each in known if not select or each in chosen]


def _is_green(copies: Sequence[Copy], mutations: Sequence[Mutation]) -> bool:
    """Whether a failure means anything."""
    began = time.monotonic()
    print("first of all without a mutation …", flush=True)
    every = tuple(sorted({path for each in mutations for path in each.tests}))
    whole = copies[0].test(every, "-n", str(len(copies)))
    if whole.is_green:
        print(f"green, {time.monotonic() - began:.0f} s", flush=True)
    else:
        print(f"not green without any mutation:\n{whole.end}", file=sys.stderr)
    return whole.is_green


def _run(copies: Sequence[Copy], mutations: Sequence[Mutation]) -> int:
    """So many at a time as there are copies; each is told as soon as it is known."""
    began = time.monotonic()
    free: SimpleQueue[Copy] = SimpleQueue()
    for copy in copies:
        free.put(copy)

    def work(mutation: Mutation) -> str:
        copy, start = free.get(), time.monotonic()
        try:
            fate, why = _fate(_tried(copy, mutation))
        finally:
            free.put(copy)
        print(f"{fate:8} {time.monotonic() - start:4.0f} s  {mutation.area}: {mutation.name} — {why}", flush=True)
        return fate

    with ThreadPoolExecutor(len(copies)) as pool:
        fates = list(pool.map(work, mutations))
    print(f"{fates.count(_KILLED)} of {len(fates)} killed, {time.monotonic() - began:.0f} s")
    alive = [(fate, each) for fate, each in zip(fates, mutations, strict=True) if fate != _KILLED]
    for fate, each in alive:
        print(f"  {fate}: {each.name} ({each.file})")
    return int(bool(alive))


def _tried(copy: Copy, mutation: Mutation) -> Ran:
    with copy.broken(mutation):
        ran = copy.test(mutation.tests, "-k", "not postgresql")  # most bugs show on any database: this one is slow
        return copy.test(mutation.tests, "-k", "postgresql") if ran.is_green else ran


def _fate(ran: Ran) -> tuple[str, str]:
    if ran.is_green:
        return _SURVIVED, "every test is green"
    killer, reason = ran.failure
    if not killer:
        return _CRASHED, f"no test failed, but pytest ended with {ran.code}:\n{ran.end}"
    return (_CRASHED, f"{killer}: {reason}") if reason.split(":")[0] in _NO_ASSERTIONS else (_KILLED, killer)


if __name__ == "__main__":
    sys.exit(main())
