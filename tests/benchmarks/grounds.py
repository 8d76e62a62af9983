"""Where a contender runs: a stand-in for the service, and a Redis and a PostgreSQL that nobody else uses."""

import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from tests.benchmarks.books import Books
from tests.queue.farm import CLIP
from tests.sandbox_process import SandboxProcess
from tests.servers import Postgres, Redis, free_port

TOKEN: Final = "nmv_usr_benchmark"
ROOMY: Final = "max_connections=400"
"""For PostgreSQL: every contender may connect as often as it likes."""
_MOST_LINKS: Final = 10_000
"""Names for one file: file systems allow a few times as many."""


@dataclass(frozen=True, slots=True)
class Latencies:
    """How long the service takes, and how often a client looks."""

    name: str
    upload: float
    edit: float
    render: float
    look_every: float
    keep_alive: float
    factor: float = 1.0
    """What the real times were divided by."""

    @property
    def one_row(self) -> float:
        """The critical path: no client can be faster."""
        return self.upload + self.edit + self.render

    def ideal(self, rows: int, window: int) -> float:
        """The critical path of one row, once for each time that the window has to be filled; 0 is an open window."""
        return self.one_row * math.ceil(rows / (window or rows))


def scaled(factor: float) -> Latencies:
    """Real-life proportions, all of them divided by the same number."""
    upload, edit, render, look, alive = (seconds / factor for seconds in (1.0, 20.0, 60.0, 30.0, 15.0))
    return Latencies("real", upload, edit, render, look, alive, factor)


SHORT: Final = Latencies("short", upload=0.05, edit=5.0, render=3.0, look_every=1.0, keep_alive=1.0)


@dataclass
class Ground:
    """One contender's place."""

    folder: Path
    latencies: Latencies
    rows: int
    sandbox: SandboxProcess
    redis: Redis
    postgres: Postgres
    database: str
    at_once: int
    """Most rows, or tasks, at once; 0 for an open window."""
    environment: dict[str, str] = field(default_factory=dict)
    spare_port: int = field(default_factory=free_port)
    """For a server that a contender needs beside these."""

    @property
    def manifest(self) -> Path:
        return self.folder / "rows.csv"

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def window(self) -> int:
        """A number even where the window is open."""
        return self.at_once or self.rows

    @property
    def look_every(self) -> float:
        """Seconds between two looks at how far it is: of many rows less often, as a look costs more."""
        return max(0.1, self.rows / 2000)

    def results(self) -> "list[os.DirEntry[str]]":
        """What was written so far."""
        return [entry for entry in os.scandir(self.out) if entry.name.endswith(".mp4")] if self.out.exists() else []

    def done(self) -> list[float]:
        """When each result was written."""
        return [entry.stat().st_mtime for entry in self.results()]

    def asked(self, endpoint: str) -> int:
        """How often the stand-in was asked for this so far."""
        return int(self.sandbox.ledger()["requests"].get(endpoint, 0))

    def requests(self) -> list[dict[str, Any]]:
        """The stand-in's own book of them."""
        told = httpx.get(f"{self.sandbox.url}/sandbox/requests", trust_env=False, timeout=120).json()
        return list(told["requests"])

    def books(self) -> Books:
        return Books(self.sandbox.ledger(), self.requests())


@contextmanager
def ground(latencies: Latencies, rows: int, at_once: int, postgres: Postgres) -> Iterator[Ground]:
    """A fresh one: nobody finds what somebody before left."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        sandbox = stack.enter_context(_sandbox(latencies))
        redis = Redis(folder)
        stack.callback(redis.stop)
        database = stack.enter_context(postgres.database())
        made = Ground(folder, latencies, rows, sandbox, redis, postgres, database, at_once)
        write_rows(made.manifest, rows)
        made.environment = _environment(made)
        yield made


def write_rows(manifest: Path, rows: int, clips: int = 0) -> None:
    """Each row with a clip under its own name, or with one of so many: by it the stand-in's books tell rows apart.

    Their contents and instruction are the same, so that the stand-in encodes one video for all.
    """
    folder, names = manifest.parent, [f"row-{number:06}.mp4" for number in range(1, (clips or rows) + 1)]
    for number, name in enumerate(names):
        if number % _MOST_LINKS == 0:
            shutil.copy(CLIP, folder / name)
        else:
            (folder / name).hardlink_to(folder / names[number - number % _MOST_LINKS])
    lines = [f"{name},Add a title that says Hello" for name in names]
    numbered = (f"{lines[number % len(lines)]},{number + 1:06}.mp4" for number in range(rows))
    manifest.write_text("\n".join(["file,instruction,output", *numbered]) + "\n")


def _sandbox(latencies: Latencies) -> SandboxProcess:
    faults = dict.fromkeys(("silent_edit", "temporary_issue", "screen_talk"), 0.0)
    faults |= {f"{step}_seconds": getattr(latencies, step) for step in ("upload", "edit", "render")}
    token = f"{TOKEN}={10**9}"
    return SandboxProcess.start(faults=faults, no_latency=True, token=token, keep_alive=latencies.keep_alive)


def _environment(ground: Ground) -> dict[str, str]:
    """What contenders are told: the service's own names, the bench's for the peers, and those of reelq."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "SYSTEMROOT") if name in os.environ}
    look = str(ground.latencies.look_every)
    return {
        **kept,
        "HOME": str(ground.folder),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "NEMO_API_URL": ground.sandbox.url,
        "NEMO_TOKEN": TOKEN,
        "BENCH_OUT": str(ground.out),
        "BENCH_LOOK_EVERY": look,
        "BENCH_AT_ONCE": str(ground.at_once),
        "BENCH_BROKER_URL": ground.redis.url,
        "BENCH_DATABASE_URL": ground.database,
        "REELQ_DATA_DIR": str(ground.folder / "data"),
        "REELQ_POLL_INTERVAL": look,
        "REELQ_MAX_IN_FLIGHT": str(ground.window),
        # How long a careful client leaves a lost stream alone, and how often it looks then; and the longest life of a
        # stream, before whose end nobody knows that an instruction did not go out: 30, 60 and 900 s for an edit of 20.
        "REELQ_SETTLE_FIRST_WAIT": str(1.5 * ground.latencies.edit),
        "REELQ_SETTLE_WAIT": str(3 * ground.latencies.edit),
        "REELQ_EDIT_TIMEOUT": str(45 * ground.latencies.edit),
    }
