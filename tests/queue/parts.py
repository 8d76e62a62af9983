"""A deployment all of whose parts are processes: Redis, PostgreSQL, the REST service, two workers, Flower; and clients.

Each part can be stopped as one is told to or as by a crash, and started again at the same address.
"""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import httpx
from httpx_sse import EventSource
from pydantic import SecretStr

from reelq.store import apikeys
from reelq.store.clients import Scope
from tests.queue.farm import CLIP, ROOT, Farm, farm
from tests.servers import Postgres, Redis, free_port, own_postgres

WORKERS: Final = ("worker 1", "worker 2")
_WORKER: Final = ("celery", "-A", "worker", "worker", "-c", "4", "--loglevel=INFO")
_HANGS_UP_AFTER: Final = 25


@dataclass
class Process:
    """A part that is a process of ours."""

    command: list[str]
    environment: dict[str, str]
    log_file: Path
    running: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        with self.log_file.open("ab") as log:
            command = [sys.executable, "-m", *self.command]
            self.running = subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=log, stderr=log)

    def stop(self, how: signal.Signals) -> None:
        if self.running:
            self.running.send_signal(how)
            self.running.wait(40)
            self.running = None

    @property
    def log(self) -> str:
        """All that it has said, over all its lives."""
        return self.log_file.read_text()


@dataclass
class Deployment:
    """All of them, and somebody with a key to the REST service."""

    made: Farm
    parts: dict[str, Redis | Postgres | Process]
    api: httpx.Client
    flower: httpx.Client
    away: set[str] = field(default_factory=set)

    def start(self, *names: str) -> None:
        for name in names:
            self.parts[name].start()
            self.away.discard(name)

    def stop(self, how: signal.Signals, *names: str) -> None:
        for name in names:
            self.away.add(name)
            self.parts[name].stop(how)

    def process(self, name: str) -> Process:
        """One that is a process of ours."""
        part = self.parts[name]
        assert isinstance(part, Process)
        return part

    def answers(self, path: str) -> int:
        """The status of an answer; 0 without one."""
        try:
            return self.api.get(path).status_code
        except httpx.TransportError:
            return 0

    def shows(self) -> bool:
        """Whether Flower answers."""
        try:
            return self.flower.get("/").is_success
        except httpx.TransportError:
            return False

    def upload(self) -> str:
        """The clip, as an asset."""
        answer = self.api.post("/v1/assets", params={"name": CLIP.name}, content=CLIP.read_bytes())
        return str(answer.raise_for_status().json()["id"])

    def hand_in(self, clip: str, takes: range, key: str) -> httpx.Response:
        """These rows as a batch; asked again with the same key, it is the same batch."""
        rows = [{"file": clip, "instruction": f"Add a title that says Take {take}"} for take in takes]
        return self.api.post("/v1/batches", json={"rows": rows}, headers={"Idempotency-Key": key})


@contextmanager
def deployed(folder: Path, faults: dict[str, object], **settings: Any) -> Iterator[Deployment]:
    """Redis and PostgreSQL run; what is ours does not yet."""
    with (
        own_postgres() as server,
        farm("redis", folder, faults=faults, reelq_database_url=SecretStr(server.url()), **settings) as made,
    ):
        assert made.redis
        ports = {name: free_port() for name in ("api", "flower")}
        parts: dict[str, Redis | Postgres | Process] = {"redis": made.redis, "postgresql": server}
        for name, command in _commands(ports).items():
            parts[name] = Process(command, made.environment(), folder / f"{name}.log")
        key = apikeys.make(made.store, "ann", Scope.ADMIN)[1]
        with _client(ports["api"], {"Authorization": f"Bearer {key}"}) as api, _client(ports["flower"], {}) as flower:
            whole = Deployment(made, parts, api, flower)
            try:
                yield whole
            finally:
                for part in parts.values():
                    if isinstance(part, Process):
                        part.stop(signal.SIGKILL)
                for name in whole.away & {"postgresql"}:
                    parts[name].start()  # it is stopped in order, with its store


def _commands(ports: dict[str, int]) -> dict[str, list[str]]:
    return {
        "api": ["uvicorn", "api.app:app", "--port", str(ports["api"])],
        **{name: [*_WORKER, "-n", f"{name.replace(' ', '')}@%h"] for name in WORKERS},
        "flower": ["celery", "-A", "worker", "flower", "--address=127.0.0.1", f"--port={ports['flower']}"],
    }


def _client(port: int, headers: dict[str, str]) -> httpx.Client:
    """Somebody who asks this machine."""
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=20, trust_env=False)


class Follower:
    """A client that follows a batch's events, and comes back when it is cut off. Every few it hangs up by itself."""

    def __init__(self, api: httpx.Client, batch_id: str) -> None:
        self._api = api
        self._path = f"/v1/batches/{batch_id}/events"
        self._mark = ""
        self.heard: list[dict[str, Any]] = []
        self.ended = threading.Event()
        self.connections = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follower", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)

    def _follow(self) -> None:
        while not (self._over.is_set() or self.ended.is_set()):
            with suppress(httpx.TransportError):
                self._listen()
            time.sleep(0.2)

    def _listen(self) -> None:
        headers = {"Last-Event-ID": self._mark} if self._mark else {}
        with self._api.stream("GET", self._path, headers=headers) as told:
            if not told.is_success:
                return
            self.connections += 1
            for event in EventSource(told).iter_sse():
                self._mark = event.id
                if event.event == "job":
                    self.heard.append(json.loads(event.data))
                if event.event == "end":
                    self.ended.set()
                if event.event == "job" and len(self.heard) % _HANGS_UP_AFTER == 0:
                    return
