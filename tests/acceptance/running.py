"""A user at a shell with `reelq`: a folder of clips, a manifest, a service that is the sandbox, and nothing else."""

import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from tests.acceptance.forked import BARE, REELQ, ROOT, Forked, run
from tests.sandbox_process import SandboxProcess

SMALL_CLIP: Final = ROOT / "tests" / "queue" / "beach.mp4"
"""A second of a small picture: the stand-in encodes what it is given, for each row of each test."""
QUICK: Final = {
    "REELQ_POLL_INTERVAL": "0.3",
    "REELQ_RATE_LIMIT_WAIT": "0.3",
    "REELQ_SETTLE_FIRST_WAIT": "0.2",
    "REELQ_SETTLE_WAIT": "0.3",
    "REELQ_STOP_GRACE": "1",
}
"""Short waits. No time-out is short: a busy machine would exceed it."""
SOON_MISSED: Final = {"REELQ_LEASE_SECONDS": "3", "REELQ_EDIT_TIMEOUT": "10"}
"""Where a process is killed, and its rows are to go on soon: the longest wait is for an instruction in doubt."""


class User:
    """Calls commands in a folder of their own."""

    def __init__(self, folder: Path, service: SandboxProcess | None = None, **environment: str) -> None:
        self.folder = folder
        self.service = service
        address = {"NEMO_API_URL": service.url} if service else {}
        home = {"HOME": str(folder), "REELQ_DATA_DIR": str(folder / "data")}
        self.environment = {**BARE, **home, **QUICK, **address, **environment}
        shutil.copy(SMALL_CLIP, folder)
        for clip in ("talk.mp4", "face.jpg"):
            shutil.copy(ROOT / "samples" / clip, folder)

    def writes(self, rows: Sequence[str], header: str = "file,instruction", name: str = "jobs.csv") -> None:
        """A manifest of these lines."""
        (self.folder / name).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")

    def calls(self, *words: str, timeout: float = 90, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Call it, and wait for it."""
        env = {**self.environment, **environment}
        return run(["reelq", *words], cwd=self.folder, env=env, timeout=timeout)

    def starts(self, *words: str, **options: Any) -> Forked:
        """Call it, and go on."""
        return Forked(["reelq", *words], cwd=self.folder, env=self.environment, **options)

    def executes(self, *words: str, **options: Any) -> "subprocess.Popen[str]":
        """Start the real executable, where its first moments or all that it costs are what is tested."""
        pipe = subprocess.PIPE
        told = {"stdout": pipe, "stderr": pipe, "text": True, "encoding": "utf-8", **options}
        return subprocess.Popen([REELQ, *words], cwd=self.folder, env=self.environment, **told)

    @property
    def messages(self) -> list[str]:
        """Every instruction that the service has taken on."""
        assert self.service is not None
        sessions = self.service.ledger()["sessions"].values()
        heard = (message for session in sessions for message in session["messages"])
        return sorted(message["text"] for message in heard if message["outcome"] != "refused")

    def videos(self, manifest: str = "jobs") -> list[str]:
        """What lies in the results' folder, besides the list."""
        out = self.folder / "reelq-out" / manifest
        return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.suffix == ".mp4")


def until(met: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Wait for it."""
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)


def titles(count: int, what: str = "Take") -> list[str]:
    """Rows that differ in what they say."""
    return [f"beach.mp4,Add a title that says {what} {number}" for number in range(1, count + 1)]


STEADY: Final = {"silent_edit": 0, "temporary_issue": 0, "edit_seconds": 0.3, "render_seconds": 0.3}
