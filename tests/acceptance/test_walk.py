"""A new user's walk: what the README says to type, in its order, in a fresh clone; by `make prove` alone.

Nothing of it is left out but `make test`, which would run this too. Three things are not as they would be for a user:
the service is the sandbox, the Redis is the test's own, and waits are short.
"""

import csv
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.running import QUICK, ROOT, STEADY, until
from tests.queue.sizes import PROVING
from tests.sandbox_process import SandboxProcess
from tests.servers import Redis

pytestmark = pytest.mark.skipif(
    not PROVING, reason="it sets up an environment of its own, which takes minutes: REELQ_PROVE=1"
)

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
"""What stands between fences: its language, and its lines."""
_REDIS = "redis://127.0.0.1:6379/0"
_PORTS = (8000, 5555)
_LEFT_OUT = "make test"
_STAYS = "reelq up"
_INSTALLING = 900
_ROWS_WAIT = "--first"
"""What ends with 3, as the rows that it keeps back wait for whoever looks at the first ones."""


class Terminal:
    """Lines typed one after another; what one of them sets, the next ones know."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._options: dict[str, Any] = {"cwd": folder, "text": True, "encoding": "utf-8", "stderr": subprocess.STDOUT}
        self._noted = folder.with_name("noted")
        self.environment = environment

    def call(self, line: str, seconds: float = 120) -> str:
        """Type a line and wait for it; what it printed. It has to do what it says."""
        noting = f"{line}\ncode=$?\nenv -0 > {self._noted}\nexit $code"
        done: subprocess.CompletedProcess[str] = subprocess.run(
            noting, shell=True, env=self.environment, stdout=subprocess.PIPE, timeout=seconds, check=False,
            **self._options,
        )  # fmt: skip
        assert done.returncode == (3 if _ROWS_WAIT in line else 0), f"{line}\n{done.stdout}"
        lines = self._noted.read_text(encoding="utf-8").split("\0")[:-1]
        self.environment = dict(one.split("=", 1) for one in lines)
        return done.stdout

    def stay(self, line: str, log: Path) -> "subprocess.Popen[str]":
        """Type a line that goes on until Ctrl-C."""
        with log.open("w") as file:
            made: subprocess.Popen[str] = subprocess.Popen(
                f"exec {line}", shell=True, env=self.environment, stdout=file, **self._options
            )
        return made


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A fresh clone, with what is changed here and not committed."""
    place = tmp_path / "reelq"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(place)], check=True, timeout=60)
    listed = ["git", "ls-files", "-z", "--exclude-standard"]
    changed = subprocess.run([*listed, "-m", "-o"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, changed.split("\0")):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, place / name)
        else:
            (place / name).unlink(missing_ok=True)
    return place


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A user's who has set nothing, and whose home is empty."""
    (tmp_path / "home").mkdir()
    ours = ("REELQ_", "NEMO_", "MAKE", "MFLAGS", "VIRTUAL_ENV", "PYTEST_", "PYTHON")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(ours)}
    path = os.pathsep.join(part for part in kept["PATH"].split(os.pathsep) if not Path(part).is_relative_to(ROOT))
    with SandboxProcess.start(faults=STEADY, no_latency=True, credits=10_000) as service:
        yield {**kept, **QUICK, "PATH": path, "HOME": str(tmp_path / "home"), "NEMO_API_URL": service.url}


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    """One of the test's own: nobody knows what is in the one that the README's address leads to here."""
    made = Redis(tmp_path)
    yield made
    made.stop()


def listed(results: Path) -> list[str]:
    with results.open(encoding="utf-8-sig", newline="") as file:
        return [row["status"] for row in csv.DictReader(file)]


@pytest.mark.timeout(1500)
def test_the_readmes_commands_in_their_order_lead_where_it_says(
    clone: Path, environment: dict[str, str], redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    for port in _PORTS:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)), f"port {port} is taken; the README's service listens there"
    terminal, log = Terminal(clone, environment), clone.with_name("log")
    said: dict[str, str] = {}
    began = time.monotonic()
    up: subprocess.Popen[str] | None = None
    with ExitStack() as stack:
        for language, block in _BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8")):
            if language == "csv":
                (clone / "jobs.csv").write_text(block, encoding="utf-8")
                continue
            for line in block.splitlines():
                if line.startswith(_STAYS):
                    up = terminal.stay(line, log)
                    stack.callback(up.wait, 90)
                    stack.callback(up.terminate)
                    until(lambda: log.read_text().count("ready.") == 2, log.read_text, 90)
                    until(lambda: "Uvicorn running" in log.read_text(), log.read_text)
                    terminal = Terminal(clone, environment)
                elif not line.startswith(_LEFT_OUT):
                    said[line.partition(" #")[0].strip()] = terminal.call(
                        line.replace(_REDIS, redis.url), _INSTALLING if line.startswith("make") else 120
                    )
        assert up
        up.send_signal(signal.SIGINT)
        code = up.wait(60)
    with capsys.disabled():
        print(f"\nthe README's walk took {time.monotonic() - began:.0f} s")  # noqa: T201 - a proof prints its figure

    assert "9 of 9 rows done" in said["make demo"]
    assert listed(clone / "reelq-out" / "jobs.example" / "results.csv") == ["succeeded"] * 9
    assert "2 rows (2 edit), 0 warnings: ready to run." in said["reelq check jobs.csv"]
    assert "1 row held back" in said["reelq run jobs.csv --first 1"]
    assert "2 of 2 rows done" in said["reelq run jobs.csv"]
    assert listed(clone / "reelq-out" / "jobs" / "results.csv") == ["succeeded"] * 2
    assert "Remove the red cup" in said["reelq show last:2"]
    assert "bat_" in said["reelq submit jobs.csv"]
    assert "2 of 2 rows done" in said["reelq watch last"]
    assert "2 videos downloaded to out." in said["reelq results last --videos out"]
    assert len(list((clone / "out").rglob("*.mp4"))) == 2
    assert (code, "all stopped; nothing is lost" in log.read_text()) == (0, True), log.read_text()
