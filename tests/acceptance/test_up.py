"""`reelq up`: the REST service, workers and Flower under one roof, with a real Redis."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.running import BARE, Forked, reelq, until
from tests.sandbox_process import SandboxProcess
from tests.servers import HAS_REDIS, Redis, free_port

needs_redis = pytest.mark.skipif(not HAS_REDIS, reason="needs Redis")


@pytest.fixture
def place(tmp_path: Path, sandbox: SandboxProcess) -> dict[str, Any]:
    return {"HOME": str(tmp_path), "REELQ_DATA_DIR": str(tmp_path / "data"), "NEMO_API_URL": sandbox.url}


@pytest.fixture
def up(tmp_path: Path, place: dict[str, Any]) -> Iterator[Callable[..., Forked]]:
    """Starts it with a Redis of its own."""
    broker = Redis(tmp_path)
    started: list[Forked] = []

    def start(*words: str, **more: str) -> Forked:
        environment = {**BARE, **place, "REELQ_BROKER_URL": broker.url, **more}
        started.append(Forked(["reelq", "up", *words], env=environment, log=tmp_path / f"up{len(started)}.log"))
        return started[-1]

    yield start
    for each in started:
        each.kill()  # its children end with its end of their input
        each.wait(60)
    broker.stop()


def answers(port: int, host: str = "127.0.0.1") -> bool:
    with suppress(OSError):
        socket.create_connection((host, port), 1).close()
        return True
    return False


def processes(*asked: str) -> list[list[str]]:
    """Their ids, states and words."""
    shown = subprocess.run(["ps", "-o", "pid=,stat=,args=", *asked], capture_output=True, text=True, check=False).stdout
    return [line.split() for line in shown.splitlines()]


def worker_of(running: Forked) -> int:
    """The one worker that it started."""
    (found,) = (int(pid) for pid, _, *words in processes("--ppid", str(running.pid)) if "worker" in words)
    return found


def test_without_a_redis_it_says_how_to_get_one(tmp_path: Path) -> None:
    done = reelq("up", code=2, HOME=str(tmp_path))
    assert "apt install redis-server" in done.stderr
    assert "`reelq run`" in done.stderr
    away = reelq("up", code=2, HOME=str(tmp_path), REELQ_BROKER_URL="redis://me:hush@127.0.0.1:1/0")
    assert "Connection refused" in away.stderr
    assert "hush" not in away.stderr


@needs_redis
def test_what_would_end_a_process_at_once_is_told_before_any_is_started(up: Callable[..., Forked]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken, free = str(other.getsockname()[1]), str(free_port())
        service, flower = up("--port", taken), up("--port", free, FLOWER_PORT=taken)
        seen = up("--port", free, FLOWER_ADDRESS="0.0.0.0")
        assert (service.wait(60), flower.wait(60), seen.wait(60)) == (2, 2, 2)
    assert "Address already in use. Choose another address with --host and --port" in service.text
    assert f"Flower can't listen on 127.0.0.1:{taken}: Address already in use. Choose another port" in flower.text
    assert "without a password, anyone who reaches 0.0.0.0 could see every row" in seen.text
    assert "FLOWER_BASIC_AUTH=NAME:PASSWORD" in seen.text
    assert "Or use --no-flower" in seen.text


@needs_redis
def test_all_run_together_until_they_are_told_to_stop_which_they_do_in_order(
    up: Callable[..., Forked], place: dict[str, Any]
) -> None:
    port, rest, metrics = free_port(), free_port(), free_port()
    ports = ("--flower-port", str(port), "--port", str(rest))
    running = up("--workers", "2", *ports, REELQ_METRICS_ADDRESS=str(metrics))
    running.wait_for(r"worker \d +│ .* ready\.", times=2)
    running.wait_for(rf"worker 1 +│ .* Metrics .*127.0.0.1:{metrics}\b")
    running.wait_for(rf"worker 2 +│ .* Metrics .*127.0.0.1:{metrics + 1}\b")
    running.wait_for(r"api      │ .* Uvicorn running")
    until(lambda: answers(port), lambda: running.text)
    assert f"REST service at http://127.0.0.1:{rest}, API reference at http://127.0.0.1:{rest}/docs" in running.text
    assert "no API key exists yet; create one with `reelq keys create --owner NAME`" in running.text
    key = reelq("keys", "create", "--owner", "ann", **place).stdout.strip()
    asked = reelq("status", "--api", f"http://127.0.0.1:{rest}", REELQ_API_KEY=key, **place)
    assert "There are no batches yet" in asked.stderr
    assert f"Flower at http://127.0.0.1:{port} (this machine only" in running.text
    assert not answers(port, "127.0.0.2")  # where it would, if it listened everywhere
    running.terminate()
    assert running.wait(60) == 0
    assert [line for line in running.text.splitlines() if line.startswith("reelq: ")][-3:] == [
        "reelq: stopping worker 1, worker 2, api; press Ctrl-C again to stop at once",
        "reelq: stopping flower; press Ctrl-C again to stop at once",
        "reelq: all stopped; nothing is lost",
    ]


@needs_redis
def test_flower_that_others_reach_asks_for_the_password_and_a_worker_that_dies_takes_all_along(
    up: Callable[..., Forked],
) -> None:
    port = free_port()
    others = {"FLOWER_ADDRESS": "0.0.0.0", "FLOWER_BASIC_AUTH": "me:hush"}
    running = up("--flower-port", str(port), "--no-api", **others, REELQ_LOG_FORMAT="json")
    until(lambda: answers(port) and answers(port, "127.0.0.2"), lambda: running.text)  # as it listens everywhere
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as browser:
        assert browser.get("/").status_code == 401
        assert browser.get("/", auth=("me", "hush")).status_code == 200
    running.wait_for(r"ready\.")
    os.kill(worker_of(running), signal.SIGKILL)
    assert running.wait(60) == 1
    assert "worker 1 exited with code -9; stopping the rest" in running.text
    assert all(json.loads(line)["message"] for line in running.text.splitlines() if not line.startswith("reelq: "))
    assert "hush" not in running.text


@needs_redis
def test_a_second_interrupt_does_not_wait_for_what_is_under_way(
    up: Callable[..., Forked], place: dict[str, Any], tmp_path: Path, start_sandbox: Callable[..., SandboxProcess]
) -> None:
    slow = start_sandbox(faults={"slow_stream": 100}, no_latency=True)
    place["NEMO_API_URL"] = slow.url
    running = up("--no-flower", "--no-api", REELQ_STOP_GRACE="600")
    running.wait_for(r"ready\.")
    (tmp_path / "jobs.csv").write_text("file,instruction\n,Make a clip of a city at night\n")
    reelq("submit", "jobs.csv", cwd=tmp_path, **place)
    until(lambda: slow.ledger()["requests"].get("edit", 0) == 1, lambda: running.text)
    running.send_signal(signal.SIGINT)
    running.wait_for("press Ctrl-C again to stop at once")
    assert running.poll() is None
    running.send_signal(signal.SIGINT)
    assert running.wait(60) == 130  # long before the grace is over


@needs_redis
def test_nothing_stays_behind_when_it_is_killed(up: Callable[..., Forked]) -> None:
    running = up("--no-flower", "--no-api")
    running.wait_for(r"ready\.")
    worker = worker_of(running)
    running.kill()
    assert running.wait(60) == -signal.SIGKILL
    until(lambda: all(state.startswith("Z") for _, state, *_ in processes("-p", str(worker))), "the worker's end")
