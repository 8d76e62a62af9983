"""How long a manifest takes to be checked and handed in, what it needs, and when its first row starts."""

import time
from typing import Final

import httpx

from tests.benchmarks.contenders import CONTENDERS, reelq
from tests.benchmarks.grounds import SHORT, Ground, ground, write_rows
from tests.benchmarks.race import prepared, seen_through, until
from tests.servers import Postgres

_CLIPS: Final = 1000
_FIRST_ROW_SECONDS: Final = 120.0


def handed_in(postgres: Postgres, rows: int) -> dict[str, float]:
    """`reelq check`, then `reelq submit` to a worker that has nothing else to do."""
    with ground(SHORT, 1, 64, postgres) as place:
        (place.folder / "row-000001.mp4").unlink()
        write_rows(place.manifest, rows, clips=min(rows, _CLIPS))
        with prepared(CONTENDERS["reelq-1"], place) as race:
            log = place.folder / "timed.log"
            checked = seen_through(reelq("check", str(place.manifest)), race.environment, log)
            submitted = seen_through(race.contender.hand_in(place), race.environment, log)
            returned = time.monotonic()
            first = _first_row(place)
    return {
        "check_s": checked.seconds,
        "submit_s": submitted.seconds,
        "submit_more_s": submitted.seconds - checked.seconds,
        "peak_mb": max(checked.peak_mb, submitted.peak_mb),
        "first_row_s": max(0.0, first - returned),
    }


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
