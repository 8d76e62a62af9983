"""`reelq up`: the REST service, workers and Flower under one roof, with a real Redis."""

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.acceptance.running import BARE, ROOT, Forked, reelq, until
from tests.sandbox_process import SandboxProcess
from tests.servers import HAS_REDIS, Redis, free_port

needs_redis = pytest.mark.skipif(not HAS_REDIS, reason="needs Redis")


class Up:
    """`reelq up` as a process, and what it has written so far."""

    def __init__(self, words: list[str], environment: dict[str, str], log: Path) -> None:
        self._log = log
        with log.open("w") as file:
            self.process = Forked(["reelq", "up", *words], cwd=ROOT, env=environment, stdout=file, stderr=file)

    @property
    def text(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def wait_for(self, words: str, times: int = 1) -> None:
        until(lambda: len(re.findall(words, self.text)) >= times, lambda: self.text)

    def answers(self, port: int, host: str = "127.0.0.1") -> None:
        """Wait for it."""
        until(lambda: _answers(port, host), lambda: self.text)

    def end(self) -> int:
        """Its exit code."""
        return self.process.wait(60)


@pytest.fixture
def up(tmp_path: Path, sandbox: SandboxProcess) -> Iterator[Callable[..., Up]]:
    """Starts it with a Redis of its own."""
    broker = Redis(tmp_path)
    place = {"HOME": str(tmp_path), "REELQ_DATA_DIR": str(tmp_path / "data"), "NEMO_API_URL": sandbox.url}
    started: list[Up] = []

    def start(*words: str, **more: str) -> Up:
        environment = {**BARE, **place, "REELQ_BROKER_URL": broker.url, **more}
        started.append(Up(list(words), environment, tmp_path / f"up{len(started)}.log"))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()  # its children end with its end of their input
        each.end()
    broker.stop()


def children_of(pid: int) -> dict[str, int]:
    """The processes that it started, by what they are."""
    found = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(pid)], capture_output=True, text=True, check=True)
    rows = [line.split() for line in found.stdout.splitlines()]
    return {row[row.index("reelq.cli.child") + 1]: int(row[0]) for row in rows if "reelq.cli.child" in row}


def is_alive(pid: int) -> bool:
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return not found.stdout.strip().startswith("Z") and found.returncode == 0


def test_without_a_redis_it_says_how_to_get_one(tmp_path: Path) -> None:
    done = reelq("up", HOME=str(tmp_path))
    assert done.returncode == 2
    assert "apt install redis-server" in done.stderr
    assert "`reelq run`" in done.stderr
    away = reelq("up", HOME=str(tmp_path), REELQ_BROKER_URL="redis://me:hush@127.0.0.1:1/0")
    assert away.returncode == 2
    assert "Connection refused" in away.stderr
    assert "hush" not in away.stderr


@needs_redis
def test_what_would_end_a_process_at_once_is_told_before_any_is_started(up: Callable[..., Up]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken, free = str(other.getsockname()[1]), str(free_port())
        service, flower = up("--port", taken), up("--port", free, FLOWER_PORT=taken)
        seen = up("--port", free, FLOWER_ADDRESS="0.0.0.0")
        assert (service.end(), flower.end(), seen.end()) == (2, 2, 2)
    assert "Address already in use. --host and --port name another place" in service.text
    assert f"Flower can't listen at 127.0.0.1:{taken}: Address already in use. --flower-port" in flower.text
    assert "without a password, whoever reaches 0.0.0.0 would see every row" in seen.text
    assert "FLOWER_BASIC_AUTH=NAME:PASSWORD" in seen.text
    assert "--no-flower does without it" in seen.text


@needs_redis
def test_all_run_together_until_they_are_told_to_stop_which_they_do_in_order(
    up: Callable[..., Up], tmp_path: Path
) -> None:
    port, rest, metrics = free_port(), free_port(), free_port()
    place = {"REELQ_METRICS_ADDRESS": str(metrics)}
    running = up("--workers", "2", "--flower-port", str(port), "--port", str(rest), **place)
    running.wait_for(r"worker \d +│ .* ready\.", times=2)
    running.wait_for(rf"worker 1 +│ .* metrics .*127.0.0.1:{metrics}\b")
    running.wait_for(rf"worker 2 +│ .* metrics .*127.0.0.1:{metrics + 1}\b")
    running.wait_for(r"api      │ .* Uvicorn running")
    running.answers(port)
    assert f"REST service at http://127.0.0.1:{rest}, its description at http://127.0.0.1:{rest}/docs" in running.text
    assert "nobody has a key to it yet: `reelq keys create --owner NAME` makes one" in running.text
    at_home, data = str(tmp_path), str(tmp_path / "data")
    key = reelq("keys", "create", "--owner", "ann", HOME=at_home, REELQ_DATA_DIR=data).stdout.strip()
    asked = reelq("status", "--api", f"http://127.0.0.1:{rest}", REELQ_API_KEY=key, HOME=at_home)
    assert (asked.returncode, "There is no batch yet" in asked.stderr) == (0, True), asked.stderr
    assert f"Flower at http://127.0.0.1:{port} (this machine alone" in running.text
    assert not _answers(port, "127.0.0.2")  # where it would, if it listened everywhere
    running.process.terminate()
    assert running.end() == 0
    assert [line for line in running.text.splitlines() if line.startswith("reelq: ")][-3:] == [
        "reelq: stopping worker 1, worker 2, api; Ctrl-C again stops at once",
        "reelq: stopping flower; Ctrl-C again stops at once",
        "reelq: all stopped; nothing is lost",
    ]


@needs_redis
def test_flower_that_others_reach_asks_for_the_password_and_a_worker_that_dies_takes_all_along(
    up: Callable[..., Up],
) -> None:
    port = free_port()
    others = {"FLOWER_ADDRESS": "0.0.0.0", "FLOWER_BASIC_AUTH": "me:hush"}
    running = up("--flower-port", str(port), "--no-api", **others, REELQ_LOG_FORMAT="json")
    running.answers(port)
    running.answers(port, "127.0.0.2")  # as it listens everywhere
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as browser:
        assert browser.get("/").status_code == 401
        assert browser.get("/", auth=("me", "hush")).status_code == 200
    running.wait_for(r"ready\.")
    os.kill(children_of(running.process.pid)["worker"], signal.SIGKILL)
    assert running.end() == 1
    assert "worker 1 ended by itself (exit code -9); stopping the rest" in running.text
    assert all(json.loads(line)["message"] for line in running.text.splitlines() if not line.startswith("reelq: "))
    assert "hush" not in running.text


@needs_redis
def test_a_second_interrupt_does_not_wait_for_what_is_under_way(
    up: Callable[..., Up], tmp_path: Path, start_sandbox: Callable[..., SandboxProcess]
) -> None:
    slow = start_sandbox(faults={"slow_stream": 100}, no_latency=True)
    running = up("--no-flower", "--no-api", NEMO_API_URL=slow.url, REELQ_STOP_GRACE="600")
    running.wait_for(r"ready\.")
    (tmp_path / "jobs.csv").write_text("file,instruction\n,Make a clip of a city at night\n")
    place = {"HOME": str(tmp_path), "REELQ_DATA_DIR": str(tmp_path / "data"), "NEMO_API_URL": slow.url}
    assert reelq("submit", "jobs.csv", cwd=tmp_path, **place).returncode == 0
    until(lambda: slow.ledger()["requests"].get("edit", 0) == 1, lambda: running.text)
    running.process.send_signal(signal.SIGINT)
    running.wait_for("Ctrl-C again stops at once")
    assert running.process.poll() is None
    running.process.send_signal(signal.SIGINT)
    assert running.end() == 130  # long before the grace is over


@needs_redis
def test_nothing_stays_behind_when_it_is_killed(up: Callable[..., Up]) -> None:
    running = up("--no-flower", "--no-api")
    running.wait_for(r"ready\.")
    ((what, worker),) = children_of(running.process.pid).items()
    assert what == "worker"
    running.process.kill()
    assert running.end() == -signal.SIGKILL
    until(lambda: not is_alive(worker), f"the end of process {worker}")


def _answers(port: int, host: str = "127.0.0.1") -> bool:
    try:
        socket.create_connection((host, port), 1).close()
    except OSError:
        return False
    return True
