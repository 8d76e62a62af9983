"""What was measured, a JSON line each, with all that it takes to compare it with the next one.

docs/benchmarks/format.md says what the lines hold.
"""

import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

Record = dict[str, Any]

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "docs" / "benchmarks"
RESULTS: Final = FOLDER / "results.jsonl"
SAME: Final = ("kind", "name", "rows", "latencies", "factor", "at_once", "machine")
"""What two records have to share for one to be the other's last."""
_FIGURES_TOLD: Final = (
    "makespan_s", "over_ideal", "cpu_ms_per_row.worker", "cpu_ms_per_row.handing_in", "cpu_ms_per_row.server",
    "cpu_ms_per_row.broker", "cpu_ms_per_row.database", "cpu_ms_per_row.sandbox", "peak_mb.worker",
    "stage_delay_s.median", "noticed_s.median", "look_late_s.most", "lost", "sent_twice", "all_going_on_s",
    "taken_back_s", "claimed_again_s", "whole_after_s",
)  # fmt: skip


def stamp(packages: Sequence[str]) -> Record:
    """Of which commit, when, where and with what."""
    return {
        "commit": _commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in packages}},
    }


def _version(package: str) -> str:
    """The version of a package; "none" if it is missing, so that its contender is recorded as failed like any other."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def machine() -> Record:
    """What the figures hang on, and nothing that names the place."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": next(named, platform.machine()),
        "memory_gb": round(memory / 2**30),
    }


def read(path: Path) -> list[Record]:
    """All that was kept, the oldest first."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def tell_and_keep(record: Record, path: Path) -> None:
    """Print how it stands to the last of its kind, and add it to all that was kept."""
    for line in changes(record, last_like(record, read(path))):
        print(f"  {line}")
    keep(record, path)


def keep(record: Record, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record, sort_keys=True) + "\n")


def fits(record: Record, wanted: Mapping[str, Any]) -> bool:
    return all(record.get(name) == value for name, value in wanted.items())


def newest(records: Sequence[Record], **wanted: Any) -> Record | None:
    """The last record that has these values."""
    return next((each for each in reversed(records) if fits(each, wanted)), None)


def last_like(record: Record, records: Sequence[Record]) -> Record | None:
    """The newest of the same kind, measured on the same sort of machine."""
    return newest(records, **{name: record.get(name) for name in SAME})


def changes(record: Record, before: Record | None) -> Iterator[str]:
    """A line for each figure: what it is, and how it stands to its last one."""
    for name in _FIGURES_TOLD if record["kind"] != "probe" else [f"figures.{each}" for each in record["figures"]]:
        now = figure(record, name)
        if now is not None:
            earlier = figure(before, name) if before else None
            since = f" since {before['commit']}" if before and earlier is not None else ""
            yield f"{name.removeprefix('figures.'):28} {now:12.3f}   {_change(earlier, now)}{since}"


def figure(record: Mapping[str, Any], name: str) -> float | None:
    """`peak_mb.worker` out of a record; None where it has none."""
    value: Any = record
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return float(value) if isinstance(value, int | float) else None


def _change(before: float | None, now: float) -> str:
    """How a figure stands to its last one, in words of a few letters."""
    if before is None:
        return "new"
    if before == now:
        return "the same"
    return f"{(now - before) / before:+.0%}".replace("%", " %") if before else "from 0"


def _commit() -> str:
    """With `-dirty` where something differs from it that is not a result."""
    changed = _git("status", "--porcelain", "--", ".", f":!{FOLDER.relative_to(ROOT)}")
    return _git("describe", "--always", "--tags") + ("-dirty" if changed else "")


def _git(*words: str) -> str:
    told = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return told.stdout.strip()
