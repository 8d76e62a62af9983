"""A process keeps to one core, all of its threads, and leaves it to somebody who needs it.

Where threads run is asked of the kernel, in processes of their own; how busy the cores are is made up, as a machine
that runs tests is busy everywhere.
"""

import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from worker import core

CORES: Final = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
pytestmark = pytest.mark.skipif(len(CORES) < 2, reason="needs two cores")
FIRST, SECOND = (CORES * 2)[:2]

LOOKS: Final = f"""
import os, sys, threading, time
from pathlib import Path
from worker import core

FIRST, SECOND = {FIRST}, {SECOND}
STAT = Path(sys.argv[1]) / "stat"
NAME = "\\0" + sys.argv[1] + " {{}}"  # workers of other tests hold cores as well
ticks = {{}}

class Clock:
    # Seconds that have passed, and seconds that this process worked.
    passed = worked = 0.0
    monotonic = staticmethod(lambda: Clock.passed)
    process_time = staticmethod(lambda: Clock.worked)

core.time = Clock

def busy(ours=0.0, **loads):
    Clock.passed, Clock.worked = Clock.passed + 1, Clock.worked + ours
    for each in {CORES}:
        used, idle = ticks.get(each, (0, 0))
        load = loads["first"] if each == FIRST else loads["second"] if each == SECOND else 1000
        ticks[each] = (used + load, idle + 1000 - load)
    lines = [f"cpu{{each}} {{used}} 0 0 {{idle}} 0 0 0 0 {{used}} 0" for each, (used, idle) in ticks.items()]
    STAT.write_text("\\n".join(["cpu 1 2 3 4 5 6 7 8 9 10", *lines, "intr 5", ""]))

def where():
    return sorted({{tuple(os.sched_getaffinity(int(each))) for each in os.listdir("/proc/self/task")}})

def look(**loads):
    busy(**loads)
    bound.rebind()
    print(where())
    return where()

busy(first=0, second=0)
for _ in range(20):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
bound = core.Core(stat=STAT, name=NAME)
"""


def told(script: str, folder: Path) -> list[str]:
    """The lines that a process writes which does this beside twenty threads."""
    command = [sys.executable, "-c", LOOKS + script, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.splitlines()


def test_all_threads_keep_to_one_core_also_those_to_come_and_are_free_again_at_the_end(tmp_path: Path) -> None:
    bound, later, free = told("""
look(first=900, second=100)
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
print(where())
bound.leave()
print(where())
""", tmp_path)  # fmt: skip
    assert bound == later == f"[({SECOND},)]"
    assert free == str([tuple(CORES)])


def test_it_gives_way_to_somebody_who_comes_later(tmp_path: Path) -> None:
    *_, last = seen = told("""
at = look(first=100, second=500)
for _ in range(40):
    # What others use here: none of it is ours, who only sleep.
    at = look(**{"first": 900, "second": 100} if at == [(FIRST,)] else {"first": 1000, "second": 200})
""", tmp_path)  # fmt: skip
    assert (seen[0], last) == (f"[({FIRST},)]", f"[({SECOND},)]")
    assert sum(one != another for one, another in itertools.pairwise(seen)) == 1


def test_of_those_who_see_the_same_not_all_move_at_once(tmp_path: Path) -> None:
    (moved,) = told("""
moved = 0
for _ in range(30):
    bound = core.Core(stat=STAT, name=NAME)
    busy(first=100, second=500)
    bound.rebind()
    busy(first=900, second=100)
    bound.rebind()
    moved += where() == [(SECOND,)]
    bound.leave()
print(moved)
""", tmp_path)  # fmt: skip
    assert 0 < int(moved) < 30


@pytest.mark.parametrize(
    "loads", ["first=280, second=100", "first=1000, second=0, ours=0.95"], ids=["hardly better", "its own work"]
)
def test_it_stays_where_another_core_is_hardly_better_for_it(loads: str, tmp_path: Path) -> None:
    seen = told(f"""
look(first=100, second=500)
for _ in range(20):
    look({loads})
""", tmp_path)  # fmt: skip
    assert set(seen) == {f"[({FIRST},)]"}


def test_a_core_that_another_worker_holds_is_left_to_it_and_free_with_its_end(tmp_path: Path) -> None:
    beside, alone = told('''
import subprocess
holds = f"""if True:
    import socket, time
    name = socket.socket(socket.AF_UNIX)
    name.bind({NAME.format(SECOND)!r})
    print(flush=True)
    time.sleep(60)
"""
other = subprocess.Popen([sys.executable, "-c", holds], stdout=subprocess.PIPE)
other.stdout.readline()
look(first=900, second=100)
bound.leave()
other.kill()
other.wait()
look(first=900, second=100)
''', tmp_path)  # fmt: skip
    assert (beside, alone) == (f"[({FIRST},)]", f"[({SECOND},)]")


def test_where_others_take_too_much_of_every_core_it_runs_where_it_may(tmp_path: Path) -> None:
    *_, last = seen = told("""
look(first=100, second=500)
for _ in range(40):
    if len(look(first=600, second=700)[0]) > 1:
        break
""", tmp_path)  # fmt: skip
    assert (seen[0], last) == (f"[({FIRST},)]", str([tuple(CORES)]))


def test_with_one_core_or_no_word_of_the_system_it_never_looks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert core.Core().has_choice
    assert not core.Core(stat=tmp_path / "stat").has_choice
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {CORES[0]})
    assert not core.Core().has_choice
    monkeypatch.delattr(os, "sched_getaffinity")
    assert not core.Core().has_choice


def test_whom_the_system_forbids_to_choose_stays_where_it_is(tmp_path: Path) -> None:
    """As in a container whose set of cores has changed."""
    *_, asked, free = told("""
asked = []
def refuses(thread, cores):
    asked.append(cores)
    raise OSError(22, "Invalid argument")

os.sched_setaffinity = refuses
for _ in range(3):
    look(first=900, second=100)
bound.leave()
print(len(asked))
import socket
for each in (FIRST, SECOND):
    socket.socket(socket.AF_UNIX).bind(NAME.format(each))
print(True)
""", tmp_path)  # fmt: skip
    assert (asked, free) == ("1", "True")
