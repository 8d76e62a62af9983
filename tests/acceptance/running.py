"""A user at a shell with `reelq`: a folder of clips, a manifest, a service that is the sandbox, and nothing else."""

import atexit
import fcntl
import gc
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.reduction import DupFd
from pathlib import Path
from types import ModuleType
from typing import IO, Any, Final, Self

from tests.forked import ForkedProcess
from tests.sandbox_process import SandboxProcess

ROOT: Final = Path(__file__).parents[2]
REELQ: Final = str(Path(sys.executable).with_name("reelq"))
BARE: Final = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "SYSTEMROOT") if name in os.environ}
"""Nothing of this machine's settings: not even that Python should not buffer, which would hide faults at its end."""
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
STEADY: Final = {"silent_edit": 0, "temporary_issue": 0, "edit_seconds": 0.3, "render_seconds": 0.3}
NOBODY: Final = "http://127.0.0.1:9"


class Forked(ForkedProcess):
    """A command with a folder, an environment, streams and an exit code; its imports are done before it begins.

    Whatever is about the first moments of a process needs the real executable.
    """

    def __init__(
        self,
        words: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        stdout: int | IO[Any] = subprocess.PIPE,
        stderr: int | IO[Any] = subprocess.PIPE,
        terminal: int | None = None,
    ) -> None:
        """`reelq …` or `-m MODULE …`; on a terminal, if there is one for it."""
        self.stdout, out = _stream(stdout if terminal is None else terminal)
        self.stderr, err = (None, out) if stderr == subprocess.STDOUT else _stream(stderr if terminal is None else out)
        with Path(os.devnull).open() as nothing:
            streams = [_Sent(number) for number in (nothing.fileno() if terminal is None else terminal, out, err)]
            super().__init__(_become, list(words), str(cwd), dict(env), streams)
        for ours, number in ((self.stdout, out), (self.stderr, err)):
            if ours:
                os.close(number)

    def communicate(self, timeout: float = 90) -> tuple[str, str]:
        """What it writes from now on to standard output and to standard error, to its end."""
        with ThreadPoolExecutor() as pool:
            reads = [pool.submit(stream.read) if stream else None for stream in (self.stdout, self.stderr)]
            try:
                out, err = (read.result(timeout) if read else "" for read in reads)
                self.wait(timeout)
            except BaseException:
                self.kill()
                raise
        self.close()
        return out, err

    def close(self) -> None:
        """Close this end of its streams."""
        for stream in (self.stdout, self.stderr):
            if stream:
                stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self.wait()


class _Sent:
    """A descriptor that the new process gets, as a number of its own."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __reduce__(self) -> tuple[Callable[[Any], int], tuple[Any]]:
        return _received, (DupFd(self._number),)


def _received(sent: Any) -> int:
    return int(sent.detach())


def _stream(wanted: int | IO[Any]) -> tuple[IO[str] | None, int]:
    """Our end where it is a pipe, and the descriptor for the process."""
    if not isinstance(wanted, int):
        return None, wanted.fileno()
    if wanted != subprocess.PIPE:
        return None, wanted
    reads, writes = os.pipe()
    return os.fdopen(reads, encoding="utf-8"), writes


def _become(words: list[str], folder: str, environment: dict[str, str], streams: list[int]) -> None:
    """In the forked process: go on as if it had been started with these words."""
    gc.freeze()
    for place, (name, stream) in enumerate(zip(("stdin", "stdout", "stderr"), streams, strict=True)):
        os.dup2(stream, place)
        os.close(stream)
        mode, errors = ("w" if place else "r"), ("backslashreplace" if name == "stderr" else "strict")
        made = os.fdopen(place, mode, 1 if name == "stderr" else -1, encoding="utf-8", errors=errors, closefd=False)
        setattr(sys, name, made)
        setattr(sys, f"__{name}__", made)
    if os.isatty(0):
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None
    try:
        _run(words, folder)
    finally:
        atexit._run_exitfuncs()


def _run(words: list[str], folder: str) -> None:
    if words[0] == "-m":
        sys.argv = words[1:]
        sys.path[0] = folder
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        return
    sys.argv = [REELQ, *words[1:]]
    sys.modules["__main__"] = ModuleType("__main__")  # by which click tells `reelq` from `python -m reelq`
    sys.path[0] = str(Path(REELQ).parent)
    from reelq.cli import main

    main()


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

    def calls(self, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Call it, and wait for it."""
        return reelq(*words, cwd=self.folder, **{**self.environment, **environment})

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


def reelq(*words: str, cwd: Path = ROOT, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Call it in an environment of its own, and wait for it."""
    process = Forked(["reelq", *words], cwd=cwd, env={**BARE, **environment})
    out, err = process.communicate()
    return subprocess.CompletedProcess(words, process.wait(), out, err)


def until(met: Callable[[], object], what: str | Callable[[], str], seconds: float = 60) -> None:
    """Wait for it."""
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what if isinstance(what, str) else what()}"
        time.sleep(0.05)


def titles(count: int, what: str = "Take") -> list[str]:
    """Rows that differ in what they say."""
    return [f"beach.mp4,Add a title that says {what} {number}" for number in range(1, count + 1)]
