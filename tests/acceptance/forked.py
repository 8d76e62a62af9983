"""Commands as processes that cost next to nothing: forked from one that has imported what they need.

Each is a process like any other, with its own folder, environment, streams, signals and exit code. What differs is how
it begins: the imports are done. So whatever is about the first moments of a process needs the real executable.
"""

import atexit
import fcntl
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import IO, Any, Final, Self

ROOT: Final = Path(__file__).parents[2]
REELQ: Final = str(Path(sys.executable).with_name("reelq"))
BARE: Final = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "SYSTEMROOT") if name in os.environ}
"""Nothing of this machine's settings: not even that Python should not buffer, which would hide faults at its end."""
_DEPENDENCIES: Final = (
    "alembic.command", "alembic.ddl.postgresql", "alembic.ddl.sqlite", "celery.app.amqp", "celery.app.control",
    "celery.app.events", "celery.app.log", "celery.bin.celery", "celery.bin.worker", "celery.concurrency.thread",
    "celery.events.state", "celery.fixups.django", "celery.loaders.app", "celery.worker.consumer",
    "celery.worker.strategy", "flower.command", "kombu.transport.memory", "kombu.transport.redis", "psycopg", "redis",
    "rich.live", "rich.progress", "rich.table", "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite", "uvicorn.lifespan.on", "uvicorn.loops.auto", "uvicorn.main",
    "uvicorn.protocols.http.auto", "uvicorn.protocols.websockets.auto",
)  # fmt: skip
_UNREAD: Final = ("reelq.cli.child", "worker.celery", "worker.flowerconfig", "api.app")
"""Modules that read the environment as they are imported, or begin at once."""


class Forked:
    """A process with the interface of `subprocess.Popen`, as far as tests need it."""

    def __init__(
        self,
        words: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        stdin: int | IO[Any] = subprocess.DEVNULL,
        stdout: int | IO[Any] = subprocess.PIPE,
        stderr: int | IO[Any] = subprocess.PIPE,
        start_new_session: bool = False,
    ) -> None:
        self.args = words
        self.returncode: int | None = None
        self.stdin, ours = _stream(stdin, "w")
        self.stdout, out = _stream(stdout, "r")
        self.stderr, err = (None, out) if stderr == subprocess.STDOUT else _stream(stderr, "r")
        told = {"words": list(words), "cwd": str(cwd), "env": dict(env), "new_session": start_new_session}
        self._news, theirs = socket.socketpair()
        with theirs, tempfile.TemporaryFile() as order:
            order.write(json.dumps(told).encode())
            order.seek(0)
            _server().ask([theirs.fileno(), order.fileno(), ours, out, err])
        for given, made in ((stdin, ours), (stdout, out), (stderr, err)):
            if isinstance(given, int) and given in (subprocess.PIPE, subprocess.DEVNULL):
                os.close(made)
        self.pid = int(self._line())

    def poll(self) -> int | None:
        """Its exit code, once it has ended."""
        if self.returncode is None and select.select([self._news], [], [], 0)[0]:
            self.returncode = int(self._line())
            self._news.close()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, at its end."""
        if self.returncode is None and not select.select([self._news], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        code = self.poll()
        assert code is not None
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it writes from now on to standard output and to standard error, to the end of both, and of itself."""
        read: dict[IO[str], str] = {}
        streams = [stream for stream in (self.stdout, self.stderr) if stream]
        readers = [
            threading.Thread(target=lambda stream=stream: read.update({stream: stream.read()}), daemon=True)
            for stream in streams
        ]
        deadline = time.monotonic() + (timeout or threading.TIMEOUT_MAX / 2)
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(deadline - time.monotonic())
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
        self.wait(max(deadline - time.monotonic(), 0))
        for stream in streams:
            stream.close()
        out, err = (read.get(stream, "") if stream else "" for stream in (self.stdout, self.stderr))
        return out, err

    def send_signal(self, number: signal.Signals) -> None:
        """Send it, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Close this end of its streams."""
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream:
                stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self.wait()

    def _line(self) -> str:
        """What the server says next of this process: its id, then its exit code."""
        said = b""
        while not said.endswith(b"\n"):
            more = self._news.recv(32)
            assert more, "the server of forked processes is gone"
            said += more
        return said.decode()


def run(
    words: Sequence[str], *, cwd: Path, env: Mapping[str, str], timeout: float = 90
) -> "subprocess.CompletedProcess[str]":
    """As `subprocess.run`: a process to its end, and what it wrote."""
    process = Forked(words, cwd=cwd, env=env)
    try:
        out, err = process.communicate(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode is not None
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def _stream(wanted: int | IO[Any], mode: str) -> tuple[IO[str] | None, int]:
    """Our end where it is a pipe, and the descriptor that the process gets."""
    if not isinstance(wanted, int):
        return None, wanted.fileno()
    if wanted == subprocess.DEVNULL:
        return None, os.open(os.devnull, os.O_RDWR)
    if wanted != subprocess.PIPE:
        return None, wanted
    reads, writes = os.pipe()
    if mode == "r":
        return os.fdopen(reads, encoding="utf-8"), writes
    return os.fdopen(writes, "w", encoding="utf-8"), reads


class _Server:
    """The process that has everything imported; it ends with the one that started it."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", __name__, str(theirs.fileno())]
            env = {name: text for name, text in BARE.items() if name != "HOME"}
            self._process = subprocess.Popen(command, cwd=ROOT, env=env, pass_fds=[theirs.fileno()])
        self._one_by_one = threading.Lock()
        atexit.register(self._stop)

    def ask(self, descriptors: list[int]) -> None:
        with self._one_by_one:
            socket.send_fds(self._ours, [b"!"], descriptors)

    def _stop(self) -> None:
        self._ours.close()
        self._process.wait()


@cache
def _server() -> _Server:
    return _Server()


def serve(control: socket.socket) -> dict[str, Any]:
    """Fork a process for each order. Comes back in the forked process, with its order."""
    atexit.register(_leave)  # before all others, so that it is called after them
    _import_all()
    ended, wakes = socket.socketpair()
    for end in (ended, wakes):
        end.setblocking(False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
    running: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([control, ended], [], [])
        if ended in ready:
            ended.recv(4096)
            _tell_ends(running)
        if control in ready:
            asked, descriptors, _, _ = socket.recv_fds(control, 1, 5)
            if not asked:
                sys.exit()
            news = socket.socket(fileno=descriptors[0])
            pid = os.fork()
            if not pid:
                signal.set_wakeup_fd(-1)
                for one in (control, ended, wakes, news, *running.values()):
                    one.close()
                return _begin(descriptors[1:])
            for descriptor in descriptors[1:]:
                os.close(descriptor)
            running[pid] = news
            news.send(f"{pid}\n".encode())


def _tell_ends(running: dict[int, socket.socket]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with running.pop(pid) as news, suppress(OSError):  # nobody asks any more
            news.send(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _import_all() -> None:
    import api
    import reelq
    import worker

    for package in (reelq, worker, api):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name not in _UNREAD:
                importlib.import_module(module.name)
    for name in _DEPENDENCIES:
        importlib.import_module(name)
    assert threading.active_count() == 1, "a process with threads can't be forked"
    gc.collect()
    gc.freeze()


def _begin(descriptors: list[int]) -> dict[str, Any]:
    """Become what the order says, as if this process had been started so."""
    for number in (signal.SIGCHLD, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    order_file, *streams = descriptors
    with os.fdopen(order_file, "rb") as file:
        order: dict[str, Any] = json.load(file)
    for stream, place in zip(streams, (0, 1, 2), strict=True):
        os.dup2(stream, place)
    for stream in streams:
        os.close(stream)
    if order["new_session"]:
        os.setsid()
        if os.isatty(0):
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    tempfile.tempdir = None
    for name, place, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        was = getattr(sys, name)
        lines = 1 if name == "stderr" else -1
        made = os.fdopen(place, mode, lines, encoding=was.encoding, errors=was.errors, closefd=False)
        setattr(sys, name, made)
        setattr(sys, f"__{name}__", made)
    return order


_exit_code: list[int] = []
"""Of a forked process whose main thread has come to its end."""


def _leave() -> None:
    """All is in order and no thread is left. What Python would do now, freeing each object, takes longest of all."""
    if not _exit_code:
        return  # the server's own end
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            _exit_code[0] = 120  # as Python does it
    os._exit(_exit_code[0])


def become(order: dict[str, Any]) -> None:
    """Do what the words say, and note the exit code."""
    _exit_code.append(1)
    try:
        _do(order)
        _exit_code[0] = 0
    except SystemExit as end:
        _exit_code[0] = 0 if end.code is None else end.code if isinstance(end.code, int) else 1
        raise


def _do(order: dict[str, Any]) -> None:
    """Do what the words say: `reelq …`, or `-m MODULE …`."""
    program, *words = order["words"]
    if program == "-m":
        sys.argv = words
        sys.path[0] = order["cwd"]
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
        return
    sys.argv = [REELQ, *words]
    sys.modules["__main__"] = ModuleType("__main__")  # by which click tells `reelq` from `python -m reelq`
    sys.path[0] = str(Path(REELQ).parent)
    from reelq.cli import main

    main()


if __name__ == "__main__":
    become(serve(socket.socket(fileno=int(sys.argv[1]))))
