"""How long a command takes that has nothing to do."""

import os
import subprocess
import time

from tests.benchmarks.arithmetic import percentile
from tests.benchmarks.contenders import reelq
from tests.servers import Postgres


def help_(_postgres: Postgres, times: int) -> dict[str, float]:
    """`reelq --help`, again and again; the first run, which may have to read from the disk, does not count."""
    took = [_once() for _ in range(times + 1)][1:]
    return {"median_ms": percentile(took, 0.5), "least_ms": min(took), "most_ms": max(took)}


def _once() -> float:
    began = time.perf_counter()
    subprocess.run(reelq("--help"), check=True, stdout=subprocess.DEVNULL, env={"PATH": os.environ["PATH"]})
    return 1000 * (time.perf_counter() - began)
