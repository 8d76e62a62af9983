"""`python -m tests.mutations`: break the engine in a copy, once for each mutation, and see whether the tests notice.

Exits with 1 where a mutation survives, and with 2 where nothing could be told: the whole copy is not green, or a
mutation does not fit the code any more.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from tests.mutations.catalogue import MUTATIONS
from tests.mutations.checkout import CHECKOUT, Copy, Ran
from tests.mutations.mutation import Mutation, Outdated

_LAST_LINES: Final = 30


class Fate(StrEnum):
    """What became of a mutation."""

    KILLED = "killed"
    SURVIVED = "SURVIVED"
    CRASHED = "CRASHED"
    """A test failed, but by an error that any test would fail by: the mutation is none."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one mutation, by which test, and after how long."""

    mutation: Mutation
    fate: Fate
    why: str
    seconds: float


def main(words: Sequence[str] | None = None) -> int:
    """The command."""
    asked = _parser().parse_args(words)
    try:
        chosen = _chosen(asked.select)
        tests = {each: sorted({*each.tests_in(CHECKOUT), *asked.tests}) for each in chosen}
        for each in chosen:
            each.applied_to((CHECKOUT / each.file).read_text(encoding="utf-8"))
    except (Outdated, ValueError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 2
    if asked.list:
        for each in chosen:
            print(f"{each.area:15} {each.name}  [{each.file}; {' '.join(tests[each])}]")
        return 0
    with _copies(asked.at_once) as copies:
        if not asked.unchecked and not _is_green(copies, tests):
            return 2
        return _run(copies, tests)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("select", nargs="*", help="areas, or parts of names; all mutations where none is given")
    parser.add_argument("--list", action="store_true", help="list the mutations and run nothing")
    parser.add_argument("--tests", nargs="+", default=[], metavar="PATH", help="run these test files and folders too")
    parser.add_argument("--unchecked", action="store_true", help="do not run them without a mutation first of all")
    parser.add_argument("--at-once", type=int, default=2, metavar="N", help="copies to work in at once (2)")
    return parser


def _chosen(select: Sequence[str]) -> list[Mutation]:
    def fits(mutation: Mutation, word: str) -> bool:
        return word.lower() == mutation.area.lower() or word.lower() in mutation.name.lower()

    for word in select:
        if not any(fits(each, word) for each in MUTATIONS):
            raise ValueError(f"no mutation is called {word!r}, and no area; the areas: {', '.join(_areas())}")
    return [each for each in MUTATIONS if not select or any(fits(each, word) for word in select)]


def _areas() -> list[str]:
    return list(dict.fromkeys(each.area for each in MUTATIONS))


@contextmanager
def _copies(count: int) -> Iterator[list[Copy]]:
    with tempfile.TemporaryDirectory(prefix="reelq-mutations-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL runs as another user
        yield [Copy(folder / str(number)) for number in range(1, count + 1)]


def _is_green(copies: Sequence[Copy], tests: dict[Mutation, list[str]]) -> bool:
    """Whether a failure means anything."""
    began = time.monotonic()
    print("first of all without a mutation …", flush=True)
    every = sorted({path for paths in tests.values() for path in paths})
    whole = copies[0].test(every, "-n", str(len(copies)))
    if whole.is_green:
        print(f"green, {time.monotonic() - began:.0f} s", flush=True)
    else:
        print(f"not green without any mutation:\n{_end(whole)}", file=sys.stderr)
    return whole.is_green


def _run(copies: Sequence[Copy], tests: dict[Mutation, list[str]]) -> int:
    began = time.monotonic()
    verdicts = _each_in_a_copy(copies, tests)
    alive = [verdict for verdict in verdicts if verdict.fate is not Fate.KILLED]
    print(f"{len(verdicts) - len(alive)} of {len(verdicts)} killed, {time.monotonic() - began:.0f} s")
    for verdict in alive:
        print(f"  {verdict.fate}: {verdict.mutation.name} ({verdict.mutation.file})")
    return int(bool(alive))


def _each_in_a_copy(copies: Sequence[Copy], tests: dict[Mutation, list[str]]) -> list[Verdict]:
    """So many at a time as there are copies; each is told as soon as it is known."""
    free: SimpleQueue[Copy] = SimpleQueue()
    for copy in copies:
        free.put(copy)

    def work(mutation: Mutation) -> Verdict:
        copy = free.get()
        try:
            return _told(_try(copy, mutation, tests[mutation]))
        finally:
            free.put(copy)

    with ThreadPoolExecutor(len(copies)) as pool:
        return list(pool.map(work, tests))


def _told(verdict: Verdict) -> Verdict:
    mutation, area = verdict.mutation, verdict.mutation.area
    print(f"{verdict.fate:8} {verdict.seconds:4.0f} s  {area}: {mutation.name} — {verdict.why}", flush=True)
    return verdict


def _try(copy: Copy, mutation: Mutation, tests: Sequence[str]) -> Verdict:
    began = time.monotonic()
    with copy.broken(mutation):
        ran = copy.test(tests, "-k", "not postgresql")  # most bugs show on any database, and this one has to be started
        if ran.is_green:
            ran = copy.test(tests, "-k", "postgresql")
    fate, why = _fate(ran)
    return Verdict(mutation, fate, why, time.monotonic() - began)


def _fate(ran: Ran) -> tuple[Fate, str]:
    if ran.is_green:
        return Fate.SURVIVED, "every test is green"
    if not ran.killer:
        return Fate.CRASHED, f"no test failed, but pytest ended with {ran.code}:\n{_end(ran)}"
    return (Fate.CRASHED, f"{ran.killer}: {ran.crash}") if ran.crash else (Fate.KILLED, ran.killer)


def _end(ran: Ran) -> str:
    return "\n".join(ran.output.splitlines()[-_LAST_LINES:])


if __name__ == "__main__":
    sys.exit(main())
