"""How long a manifest takes to be checked and handed in, what it needs, and when its first row starts."""

import time
from contextlib import suppress
from typing import Final

import httpx

from tests.benchmarks.contenders import CONTENDERS, Command, reelq
from tests.benchmarks.grounds import SHORT, Ground, ground, write_rows
from tests.benchmarks.peaks import peak_mb
from tests.benchmarks.race import Race, Run, prepared, until
from tests.servers import Postgres

_CLIPS: Final = 1000
_LONGEST: Final = 600.0
_FIRST_ROW_SECONDS: Final = 120.0
_LOOK_EVERY: Final = 0.02


def handed_in(postgres: Postgres, rows: int) -> dict[str, float]:
    """`reelq check`, then `reelq submit` to a worker that has nothing else to do."""
    with ground(SHORT, 1, 64, postgres) as place:
        (place.folder / "row-000001.mp4").unlink()
        write_rows(place.manifest, rows, clips=min(rows, _CLIPS))
        with prepared(CONTENDERS["reelq-1"], place) as race:
            check_s, checked_mb = _timed(race, reelq("check", str(place.manifest)))
            submit_s, submitted_mb = _timed(race, race.contender.hand_in(place))
            returned = time.monotonic()
            first = _first_row(place)
    return {
        "check_s": check_s,
        "submit_s": submit_s,
        "submit_more_s": submit_s - check_s,
        "peak_mb": max(checked_mb, submitted_mb),
        "first_row_s": max(0.0, first - returned),
    }


def _timed(race: Race, command: Command) -> tuple[float, float]:
    """Seconds, and the most memory that it had."""
    began, peak = time.monotonic(), 0.0
    run = Run(command, race.environment, race.ground.folder / "timed.log")
    while not run.over:
        if time.monotonic() - began > _LONGEST:
            run.kill()
        with suppress(OSError, StopIteration):  # it ends as we look
            peak = max(peak, peak_mb(run.pid))
        time.sleep(_LOOK_EVERY)
    if run.process.returncode:
        raise RuntimeError(run.tail())
    return time.monotonic() - began, peak


def _first_row(place: Ground) -> float:
    """When the first session was asked for, on the clock that the stand-in shares with us."""
    found: list[float] = []

    def there() -> bool:
        told = httpx.get(f"{place.sandbox.url}/sandbox/requests", trust_env=False, timeout=60).json()["requests"]
        found[:] = [each["at"] for each in told if each["endpoint"] == "session"]
        return bool(found)

    if not until(there, _FIRST_ROW_SECONDS):
        raise RuntimeError(f"no row was begun within {_FIRST_ROW_SECONDS:g} s")
    return min(found)
