"""A user at a shell with `reelq`: a folder of clips, a manifest, a service that is the sandbox, and nothing else."""

import atexit
import fcntl
import gc
import os
import pty
import re
import runpy
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
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
CTRL_C: Final = "\x03"
_ESCAPE: Final = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")
_ADDED: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND


class Forked(ForkedProcess):
    """A command with a folder, an environment, streams and an exit code; its imports are done before it begins.

    Whatever is about the first moments of a process needs the real executable.
    """

    stdout: IO[str]
    stderr: IO[str]
    """Our ends, unless it writes to a terminal or into a file."""

    def __init__(
        self,
        words: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path = ROOT,
        log: Path | None = None,
        terminal: int | None = None,
    ) -> None:
        """`reelq …` or `-m MODULE …`; on a terminal, or with its outputs added to a file, if there is one for it."""
        self._log = log
        self._ours: list[IO[str]] = []
        if terminal is not None:
            theirs = [os.dup(terminal) for _ in range(3)]
        else:
            theirs = [os.open(os.devnull, os.O_RDONLY)]
            theirs += [os.open(log, _ADDED, 0o644) if log else self._pipe() for _ in range(2)]
        if self._ours:
            self.stdout, self.stderr = self._ours
        sent = [Connection(number) for number in theirs]  # what can be handed over to a process that is there already
        super().__init__(_become, list(words), str(cwd), dict(env), sent)
        for each in sent:
            each.close()

    def _pipe(self) -> int:
        reads, writes = os.pipe()
        self._ours.append(os.fdopen(reads, encoding="utf-8"))
        return writes

    @property
    def text(self) -> str:
        """What it has added to its file."""
        assert self._log
        return self._log.read_text(encoding="utf-8")

    def wait_for(self, words: str, times: int = 1) -> None:
        """Wait until it has said so, that often."""
        until(lambda: len(re.findall(words, self.text)) >= times, lambda: self.text)

    def communicate(self, code: int | None = 0) -> tuple[str, str]:
        """What it writes from now on to standard output and to standard error, to its end with this code, if any."""
        with ThreadPoolExecutor() as pool:
            reads = [pool.submit(stream.read) for stream in self._ours]
            try:
                out, err = (read.result(90) for read in reads)
                self.wait(90)
            except BaseException:
                self.kill()
                raise
        self.close()
        assert code in {None, self.returncode}, f"it ended with {self.returncode}: {out}{err}"
        return out, err

    def close(self) -> None:
        """Close our ends of its streams."""
        for stream in self._ours:
            stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self.wait()


def _become(words: list[str], folder: str, environment: dict[str, str], streams: list[Any]) -> None:
    """In the forked process: go on as if it had been started with these words."""
    gc.freeze()
    for place, (name, stream) in enumerate(zip(("stdin", "stdout", "stderr"), streams, strict=True)):
        os.dup2(stream.fileno(), place)
        stream.close()
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
    from reelq.cli.app import main

    main()


class User:
    """Calls commands in a folder of their own."""

    def __init__(self, folder: Path, service: SandboxProcess | None = None, **environment: str) -> None:
        self.folder = folder
        self.service: Any = service
        address = {"NEMO_API_URL": service.url} if service else {}
        home = {"HOME": str(folder), "REELQ_DATA_DIR": str(folder / "data")}
        self.environment = {**BARE, **home, **QUICK, **address, **environment}
        shutil.copy(SMALL_CLIP, folder)
        for clip in ("talk.mp4", "face.jpg"):
            shutil.copy(ROOT / "samples" / clip, folder)

    def writes(self, rows: Sequence[str], header: str = "file,instruction", name: str = "jobs.csv") -> None:
        """A manifest of these lines."""
        (self.folder / name).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")

    def calls(self, *words: str, code: Any = 0, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Call it, and wait for it. It has to end with this code, if one is named."""
        return reelq(*words, code=code, cwd=self.folder, **{**self.environment, **environment})

    def starts(self, *words: str) -> Forked:
        """Call it, and go on."""
        return Forked(["reelq", *words], cwd=self.folder, env=self.environment)

    @property
    def messages(self) -> list[str]:
        """Every instruction that the service has taken on."""
        sessions = self.service.ledger()["sessions"].values()
        heard = (message for session in sessions for message in session["messages"])
        return sorted(message["text"] for message in heard if message["outcome"] != "refused")

    def videos(self, manifest: str = "jobs") -> list[str]:
        """What lies in the results' folder, besides the list."""
        out = self.folder / "reelq-out" / manifest
        return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.suffix == ".mp4")


class Terminal:
    """A command on a terminal of 24 lines; what it wrote there."""

    def __init__(self, user: User, *words: str, width: int = 80, **environment: str) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
        env = {**user.environment, "TERM": "xterm", **environment}
        self.process = Forked(["reelq", *words], cwd=user.folder, env=env, terminal=theirs)
        os.close(theirs)
        os.set_blocking(self._ours, False)
        self.written = ""

    def says(self, words: str) -> bool:
        """Whether it has said so by now."""
        self._read()
        return words in _ESCAPE.sub("", self.written)

    def types(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def ends(self) -> int | None:
        # Read it continuously: a process that writes to a terminal blocks when nobody reads.
        until(lambda: self.says("") and self.process.poll() is not None, "the command's end")
        self._read()
        os.close(self._ours)
        self._ours = -1
        return self.process.returncode

    @property
    def screen(self) -> str:
        """What can be seen by now."""
        self._read()
        return screen(self.written)

    @property
    def cursor_is_shown(self) -> bool:
        """Whether it is there by now."""
        self._read()
        return self.written.rfind("\x1b[?25l") <= self.written.rfind("\x1b[?25h")

    def _read(self) -> None:
        if self._ours < 0:
            return
        try:
            while data := os.read(self._ours, 65536):
                self.written += data.decode(errors="replace")
        except OSError:  # nothing now, or nobody is there any more
            return


def screen(written: str) -> str:
    """What stands on a terminal after this, as long as nothing scrolls away. It knows what `reelq` sends, no more."""
    lines, row = [""], 0
    for text, numbers, what in re.findall(r"([^\x1b]*)(?:\x1b\[([0-9;?]*)([A-Za-z]))?", written):
        for piece in re.split("([\r\n])", text):
            if piece == "\n":
                row += 1
                lines += [""] * (row == len(lines))
            else:
                assert piece == "\r" or piece.strip("\a").isprintable(), f"not expected on a terminal: {piece!r}"
                lines[row] += piece.strip("\r\a")
        match what, numbers:
            case "A", _:
                row = max(row - int(numbers or 1), 0)
            case "K", "2":
                lines[row] = ""
            case _:
                assert (what, numbers) in {("h", "?25"), ("l", "?25"), ("", "")} or what == "m", f"{numbers}{what}"
    return "\n".join(line.rstrip() for line in lines).rstrip()


def reelq(*words: str, code: Any = 0, cwd: Any = ROOT, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Call it in an environment of its own, and wait for it."""
    process = Forked(["reelq", *words], cwd=cwd, env={**BARE, **environment})
    out, err = process.communicate(code)
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
