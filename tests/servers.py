"""Redis and PostgreSQL for tests: started where their programs are installed, and stopped when the run ends."""

import fcntl
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Final

import psycopg

START_SECONDS: Final = 60
_PORTS: Final = range(10_000, 32_768)
"""Systems take the ports of outgoing connections from above these."""
_RUN_FOLDER: Final = "REELQ_TEST_RUN"
"""Names the folder that all processes of one test run share."""
_SHARED: Final = ("fsync=off", "full_page_writes=off", "max_connections=400")
"""No test pulls the plug on the shared server, so it need not wait for the disk."""

_started: "Final[list[Postgres]]" = []
"""Kept, as Python warns of a process that nobody remembers."""


def program(name: str) -> str | None:
    """Where a program is; PostgreSQL's are outside the path on some systems."""
    beside_the_path = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or next(map(str, beside_the_path[-1:]), None)


HAS_REDIS: Final = program("redis-server") is not None
HAS_POSTGRES: Final = program("initdb") is not None
CHROMIUM: Final = program("chromium") or program("google-chrome") or program("chromium-browser")


def missing() -> list[str]:
    """The Debian packages without which some tests are left out here."""
    packages = {"redis-server": HAS_REDIS, "postgresql": HAS_POSTGRES, "chromium": CHROMIUM}
    return [name for name, found in packages.items() if not found]


def free_port() -> int:
    """A port that nobody listens on. No connection gets it either before the server of the test does."""
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_for_start(process: "subprocess.Popen[bytes]", answers: Callable[[], bool]) -> None:
    """Wait until a server answers; fail when it ends or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while not answers():
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode} before it answered")
        if time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} did not answer within {START_SECONDS} s")
        time.sleep(0.02)


class Redis:
    """A Redis server of the test's own, which the test may empty, stop and start."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = ["--port", str(self.port), "--save", "", "--appendonly", "no", "--dir", str(self._folder)]
        self.process = subprocess.Popen([_need("redis-server"), *options], stdout=subprocess.DEVNULL)
        wait_for_start(self.process, self._answers)

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Stop it; whatever it held is gone."""
        self.process.send_signal(how)
        self.process.wait(START_SECONDS)

    def empty(self) -> None:
        """FLUSHALL."""
        assert self._ask(b"FLUSHALL").startswith(b"+OK")

    def _answers(self) -> bool:
        try:
            return self._ask(b"PING").startswith(b"+PONG")
        except OSError:
            return False

    def _ask(self, command: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), 5) as line:
            line.sendall(command + b"\r\n")
            return line.recv(64)


class Postgres:
    """A PostgreSQL server of the test's own, which the test may stop and start."""

    def __init__(self, folder: Path, *options: str) -> None:
        # It refuses to run as root. Then it runs as the user that its package made.
        self._user = "postgres" if os.geteuid() == 0 else None
        self._options = [word for option in options for word in ("-c", option)]
        self._folder = folder
        folder.mkdir(exist_ok=True)
        if self._user:
            shutil.chown(folder, self._user)
        self.port = free_port()
        command = [_need("initdb"), "-D", str(folder / "data"), "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(command, user=self._user, cwd="/", check=True, capture_output=True, timeout=120)
        self.start()

    def url(self, database: str = "postgres") -> str:
        """The address of one of its databases."""
        return f"postgresql://{self._user or getpass.getuser()}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        where = ["-D", str(self._folder / "data"), "-p", str(self.port), "-h", "127.0.0.1", "-k", str(self._folder)]
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [_need("postgres"), *where, *self._options], user=self._user, cwd="/", stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        wait_for_start(self.process, self._answers)

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Stop it, as a crash does or, told by another signal, in good order. Every connection breaks."""
        self.process.send_signal(signal.SIGQUIT if how is signal.SIGKILL else signal.SIGINT)
        self.process.wait(START_SECONDS)

    def database(self) -> AbstractContextManager[str]:
        """The address of an empty database, gone afterwards."""
        return own_database(self.url())

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def own_database(server: str, template: str = "template0") -> Iterator[str]:
    """The address of a new copy of the template, gone afterwards."""
    name = f"reelq_test_{secrets.token_hex(8)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        try:
            yield server.rpartition("/")[0] + f"/{name}"
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@contextmanager
def own_postgres(*options: str) -> Iterator[Postgres]:
    """A server for one test. Its folder is not the test's own, which other users may not enter."""
    with _public_folder("postgres-test-") as folder:
        server = Postgres(folder, *options)
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def test_run() -> Iterator[None]:
    """One run of the tests: its processes share a folder, and a PostgreSQL that the first to need it starts."""
    with _public_folder("reelq-tests-") as folder:
        os.environ[_RUN_FOLDER] = str(folder)
        try:
            yield
        finally:
            del os.environ[_RUN_FOLDER]
            if (folder / "postgres.pid").exists():
                os.kill(int((folder / "postgres.pid").read_text()), signal.SIGQUIT)


def once_a_run(name: str, make: Callable[[Path], None]) -> Path:
    """The file of this name in the run's folder. Whichever process is first makes it, and the others wait."""
    path = Path(os.environ[_RUN_FOLDER], name)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            make(path)
    return path


def shared_postgres() -> str:
    """The address of the server that all tests of this run share; each makes databases of its own there."""

    def begin(note: Path) -> None:
        server = Postgres(note.with_name("postgres"), *_SHARED)
        _started.append(server)
        note.with_suffix(".pid").write_text(str(server.process.pid))
        note.write_text(server.url())

    return once_a_run("postgres.url", begin).read_text()


def _need(name: str) -> str:
    found = program(name)
    if found is None:
        raise RuntimeError(f"{name} is not installed")
    return found


@contextmanager
def _public_folder(prefix: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)
