"""What docker-compose.yml starts, as plain processes: its commands, environments, order, health checks and ends."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from sqlalchemy import URL

from tests.acceptance.running import User, until
from tests.compose import ROOT, compose, copied, dockerfile, seconds
from tests.contract.scripted_service import ScriptedService, reply
from tests.databases import empty_database
from tests.servers import HAS_POSTGRES, HAS_REDIS, Redis, free_port

needs_servers = pytest.mark.skipif(not (HAS_POSTGRES and HAS_REDIS), reason="needs Redis and PostgreSQL")
BIN: Final = Path(sys.executable).parent
"""Where the commands of the image are."""
NAMED: Final = {
    "REELQ_SECRET_KEY": "a key for tests, long enough",
    "FLOWER_BASIC_AUTH": "me:hush",
    "NEMO_API_URL": "http://sandbox:8750",
    "REELQ_POLL_INTERVAL": "0.5",
}
"""What a .env would hold, but for the database's password."""
BUSY: Final = 4
"""How many times as long as the file allows each step may take here: these tests share their machine with others."""
LEAN: Final = Path(__file__).with_name("lean")


class Containers:
    """Each service as a process of this machine: its names, ports and folders are others, and nothing else is."""

    def __init__(self, folder: Path, database: URL, broker: Redis) -> None:
        self.folder = folder
        self.started: dict[str, subprocess.Popen[str]] = {}
        self.ports = {port: free_port() for port in ("8000", "9100", "5555", "8750")}
        at = f"{database.username}@{database.host}:{database.port or 5432}/{database.database}"
        self._here = {
            "reelq@postgres:5432/reelq": at,
            "redis:6379": f"127.0.0.1:{broker.port}",
            # A name, as in a container: an address that only the sandbox itself could use would show.
            "http://sandbox": "http://localhost",
            "/var/lib/reelq": str(folder / "data"),
            **{target: str(ROOT / source) for source, target in copied() if target.startswith("/")},
            **{f"0.0.0.0:{port}": f"0.0.0.0:{here}" for port, here in self.ports.items()},
        }
        secret = {"POSTGRES_PASSWORD": database.password or "unused"}
        self.services: dict[str, Any] = compose(NAMED | secret)["services"]
        self._image = self._environment_of_the_image()
        self.cwd = folder / "empty"
        """Neither commands nor modules are found by where one stands."""
        for made in (self.cwd, folder / "data"):
            made.mkdir()

    def run(self, name: str, *words: str) -> "subprocess.CompletedProcess[str]":
        """A command in the service's container, to its end."""
        return subprocess.run(
            self._placed(words), env=self.environment(name), cwd=self.cwd, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip

    def start(self, name: str) -> None:
        """Run the service's command."""
        command = self._placed(self.services[name]["command"])
        with (self.folder / f"{name}.log").open("w") as log:
            self.started[name] = subprocess.Popen(
                command, env=self.environment(name), cwd=self.cwd, stdout=log, stderr=log, text=True
            )

    def check(self, name: str) -> "subprocess.CompletedProcess[str]":
        """Its health check."""
        kind, *words = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        return self.run(name, *words)

    def become_healthy(self, name: str) -> None:
        """Wait for it."""
        check = self.services[name]["healthcheck"]
        most = BUSY * (seconds(check["start_period"]) + check["retries"] * seconds(check["interval"]))
        until(lambda: self.check(name).returncode == 0, lambda: self.check(name).stderr + self.log(name), most)

    def stop(self, name: str) -> int:
        """As Docker does it; the exit code. It may take no longer than the file allows."""
        process = self.started.pop(name)
        process.terminate()
        try:
            return process.wait(BUSY * seconds(self.services[name].get("stop_grace_period", "10s")))
        finally:
            process.kill()

    def log(self, name: str) -> str:
        """What it has written."""
        return (self.folder / f"{name}.log").read_text(encoding="utf-8")

    def environment(self, name: str) -> dict[str, str]:
        """The image's and the service's, and nothing of this machine's: nor what tests need and the image has not."""
        told = self.services[name].get("environment", {})
        placed = {variable: self._place(str(value)) for variable, value in told.items()}
        ports = {variable: self.ports.get(value, value) for variable, value in placed.items()}
        lock = "run" if self.services[name]["build"]["target"] == "sandbox" else "service"
        lean = {"PYTHONPATH": str(LEAN), "LEAN_ABSENT": ",".join(absent(lock))}
        return self._image | lean | {variable: str(value) for variable, value in ports.items()}

    def close(self) -> None:
        """Leave nothing behind."""
        for process in self.started.values():
            process.kill()
            process.wait()

    def _environment_of_the_image(self) -> dict[str, str]:
        words = [word for name, rest in dockerfile() if name == "ENV" for word in rest.split()]
        told = dict(word.split("=", 1) for word in words if not word.startswith(("PATH=", "PIP_")))
        path = os.pathsep.join([str(BIN), os.environ["PATH"]])
        placed = {name: self._place(value) for name, value in told.items()}
        return placed | {"PATH": path, "HOME": str(self.folder / "data")}

    def _placed(self, words: Any) -> list[str]:
        program, *rest = (self._place(str(word)) for word in words)
        rest = [str(self.ports.get(word, word)) for word in rest]
        return [str(BIN / program), *(re.sub(r"(?<=127\.0\.0\.1:)\d+", self._port, word) for word in rest)]

    def _port(self, found: re.Match[str]) -> str:
        return str(self.ports.get(found[0], found[0]))

    def _place(self, text: str) -> str:
        for there, here in self._here.items():
            text = text.replace(there, here)
        return re.sub(r"(?<=localhost:)\d+", self._port, text)


@cache
def absent(lock: str) -> frozenset[str]:
    """The modules that are here and not in an image with the packages of this lock."""
    lines = (ROOT / "locks" / f"{lock}.txt").read_text(encoding="utf-8").splitlines()
    locked = {_canonical(line.partition("==")[0]) for line in lines if re.match(r"\w", line)} | {"reelq"}
    owners = packages_distributions().items()
    return frozenset(module for module, those in owners if not locked & set(map(_canonical, those)))


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture
def containers(tmp_path: Path) -> Iterator[Containers]:
    with ExitStack() as stack:
        broker = Redis(tmp_path)
        stack.callback(broker.stop)
        made = Containers(tmp_path, stack.enter_context(empty_database("postgresql", tmp_path)), broker)
        stack.callback(made.close)
        yield made


def test_a_module_that_the_image_lacks_is_not_there() -> None:
    assert "pytest" in absent("run") & absent("service")
    assert {"PIL", "imageio_ffmpeg", "hatchling"} <= absent("service") - absent("run")
    assert not {"celery", "psycopg", "psycopg_binary", "yaml", "reelq", "worker"} & absent("service")


@needs_servers
@pytest.mark.timeout(600)
def test_what_compose_starts_brings_a_video_home_and_ends_when_it_is_told_to(
    containers: Containers, tmp_path: Path
) -> None:
    needs = {name: each.get("depends_on", ()) for name, each in containers.services.items()}
    order = [name for name in TopologicalSorter(needs).static_order() if "build" in containers.services[name]]
    early = containers.run("api", "reelq", "keys", "create", "--owner", "ann")
    assert (early.returncode, "reelq db upgrade" in early.stderr) == (2, True), "the migration comes first"
    done = containers.run("migrate", *containers.services["migrate"]["command"])
    assert (done.returncode, done.stderr) == (0, "")
    running = [name for name in order if name != "migrate"]
    assert set(running) == {"api", "worker", "flower", "sandbox"}
    assert order.index("migrate") < min(map(order.index, ("api", "worker")))
    for name in running:
        assert containers.check(name).returncode == 1, f"{name} counts as well before it runs"
        containers.start(name)
    for name in running:
        containers.become_healthy(name)
    sandbox = f"http://127.0.0.1:{containers.ports['8750']}"
    httpx.post(f"{sandbox}/sandbox/faults", json={"silent_edit": 0, "temporary_issue": 0}).raise_for_status()

    _hand_in_and_fetch(containers, tmp_path / "laptop")
    page = f"http://127.0.0.1:{containers.ports['5555']}/"
    assert [httpx.get(page, auth=auth).status_code for auth in (None, ("me", "hush"))] == [401, 200]
    asked = httpx.get(f"{sandbox}/sandbox/ledger").json()
    assert sum(len(session["messages"]) for session in asked["sessions"].values()) == 1
    kept = containers.folder / "data"
    assert (kept / ".config" / "nemovideo" / "client_id").is_file(), "one id for all, where it outlives a container"
    assert not list(containers.cwd.iterdir())

    # 143 in Docker: uvicorn ends its work, then itself by the signal that it was sent.
    ends = {name: containers.stop(name) for name in reversed(running)}
    assert ends == {"worker": 0, "sandbox": 0, "flower": 0, "api": -signal.SIGTERM}, containers.log("worker")
    for name in running:
        assert containers.check(name).returncode == 1, f"{name} counts as well after its end"


def _hand_in_and_fetch(containers: Containers, laptop: Path) -> None:
    """What a user does who has a key and the address, and nothing else of the deployment."""
    made = containers.run("api", "reelq", "keys", "create", "--owner", "ann")
    assert made.returncode == 0, made.stderr
    laptop.mkdir()
    address = f"http://127.0.0.1:{containers.ports['8000']}"
    user = User(laptop, None, REELQ_API_KEY=made.stdout.strip())
    user.writes(["beach.mp4,Add a title that says Hello"])
    handed_in = user.calls("submit", "jobs.csv", "--api", address)
    user.calls("watch", handed_in.stdout.strip(), "--api", address)
    user.calls("results", "last", "--videos", "out", "--api", address)
    assert b"ftyp" in (laptop / "out" / "1-beach.mp4").read_bytes()[:12]


@pytest.mark.parametrize(
    ("status", "text", "code", "said"),
    [
        ("200 OK", 'age{of="me"} {now}', 0, ""),
        ("200 OK", 'age{of="me"} {old}', 1, r"\b1\d\d seconds old"),
        ("200 OK", 'age{of="you"} {now}', 1, "inf seconds old"),
        ("503 Away", "the database does not respond", 1, "503: the database does not respond"),
    ],
)
def test_a_health_check_tells_whether_it_is_answered_and_how_old_the_news_is(
    status: str, text: str, code: int, said: str
) -> None:
    told = text.replace("{now}", f"{time.time():.15e}").replace("{old}", str(time.time() - 100))
    with ScriptedService(reply(status, told.encode())) as asked:
        words = [sys.executable, str(ROOT / "deploy" / "healthy.py"), f"{asked.url}/metrics", 'age{of="me"}', "60"]
        environment = {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, bool(re.search(said, done.stderr))) == (code, True), done.stderr
