"""A reelq service somewhere else: its deployment with workers, its HTTP process, and a line to it that can be cut."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from reelq.store import apikeys
from reelq.store.clients import Scope
from tests.acceptance.running import ROOT, Forked, User, until
from tests.queue.farm import KINDS, Farm, farm
from tests.servers import free_port


class ApiProcess:
    """`uvicorn api.app:app`, always at the same address."""

    def __init__(self, deployment: Farm) -> None:
        self._environment = deployment.environment()
        self._path = deployment.folder / "api.log"
        self._log = self._path.open("ab")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Run it, and wait until it answers."""
        words = ["-m", "uvicorn", "api.app:app", "--port", str(self.port)]
        self._process = Forked(words, cwd=ROOT, env=self._environment, stdout=self._log, stderr=self._log)
        until(self._answers, "the service answers")

    def _answers(self) -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/healthz", trust_env=False).is_success
        return False

    @property
    def log(self) -> str:
        """What it was asked so far."""
        return self._path.read_text(encoding="utf-8")

    def kill(self) -> None:
        """As a crash."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """For good."""
        self.kill()
        self._log.close()


class Line:
    """A relay before the service. It is cut once: after so many bytes of one way, or in place of one answer."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._door = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._door.getsockname()[1]}"
        self.left: dict[str, int] = {}
        """How many more bytes go `there` or come `back` before it is cut."""
        self.unanswered = b""
        """A request with this in it arrives, and its answer does not."""
        self.cut = threading.Event()
        self.mended = threading.Event()
        self.mended.set()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Nobody comes through any more."""
        self._door.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._door.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self.mended.wait(60)
        with client, suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 5) as service:
            service.settimeout(None)
            back = threading.Thread(target=self._hand_on, args=(service, client, "back"), daemon=True)
            back.start()
            self._hand_on(client, service, "there")
            back.join()

    def _hand_on(self, source: socket.socket, target: socket.socket, way: str) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                if self.unanswered and self.unanswered in piece:
                    self.unanswered, self.left["back"] = b"", 0
                if way in self.left and len(piece) > self.left[way]:
                    target.sendall(piece[: self.left.pop(way)])
                    self.mended.clear()
                    self.cut.set()
                    break
                if way in self.left:
                    self.left[way] -= len(piece)
                target.sendall(piece)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


class Elsewhere:
    """A deployment and its HTTP process; no worker, unless a test starts one."""

    def __init__(self, deployment: Farm, api: ApiProcess) -> None:
        self.farm = deployment
        self.api = api

    def comes(self, owner: str, home: Path, scope: Scope = Scope.SUBMIT) -> User:
        """Somebody with a key, at another machine."""
        home.mkdir()
        key = apikeys.make(self.farm.store, owner, scope)[1]
        return User(home, None, REELQ_API_URL=self.api.url, REELQ_API_KEY=key)

    def send_workers_home(self) -> None:
        """As a crash."""
        for process in self.farm.workers:
            process.kill()
            process.wait()


@contextmanager
def elsewhere(folder: Path, **options: Any) -> Iterator[Elsewhere]:
    """A deployment as real as there is one here: Redis and PostgreSQL where they are named."""
    with farm(KINDS[-1], folder, **options) as deployment, closing(ApiProcess(deployment)) as api:
        yield Elsewhere(deployment, api)
