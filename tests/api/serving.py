"""The REST service on a socket of its own, in a thread of the test, and clients with keys to it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.deps import Service
from api.routes.metrics import Exposition
from reelq.settings import Settings
from reelq.store import api_keys
from reelq.store.db.client_models import Scope
from reelq.store.db.engine import Store, database_url
from reelq.store.db.migrations import upgrade
from tests.acceptance.running import BARE, Forked, until
from tests.databases import KINDS, new_database, shown
from tests.sandbox_process import NO_TLS
from tests.servers import free_port

on_each_database: Final = pytest.mark.parametrize("service", KINDS, indirect=True)
"""For tests of what the kind of database can make a difference to."""
on_the_stricter_one: Final = pytest.mark.parametrize("service", KINDS[-1:], indirect=True)
"""For tests of values that PostgreSQL refuses where SQLite takes them."""


@dataclass
class Served:
    """A running service: where it is, what it works on, and whoever asks it."""

    url: str
    service: Service
    app: FastAPI
    clients: list[httpx.Client] = field(default_factory=list)

    @property
    def store(self) -> Store:
        """Its database."""
        return self.service.store

    def key(self, owner: str, scope: Scope = Scope.ADMIN) -> str:
        """A new key."""
        return api_keys.create(self.store, owner, scope)[1]

    def client(self, owner: str = "", scope: Scope = Scope.ADMIN, **options: Any) -> httpx.Client:
        """Somebody with a new key of the owner's; nobody in particular, without a key, where none is named."""
        headers = {"Authorization": f"Bearer {self.key(owner, scope)}"} if owner else {}
        told: dict[str, Any] = {"headers": headers, "timeout": 60, "trust_env": False, "verify": NO_TLS} | options
        self.clients.append(httpx.Client(base_url=self.url, **told))
        return self.clients[-1]


class Server:
    """One app on one socket. It works for one service at a time, since to make an app costs more than most tests do."""

    def __init__(self, service: Service) -> None:
        self.app = create_app(service)
        config = uvicorn.Config(self.app, port=0, log_level="warning", ws="none", timeout_graceful_shutdown=5)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, name="api under test")
        self._thread.start()
        until(lambda: self._server.started, "the server answers")
        self.url = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"

    @property
    def is_at_work(self) -> bool:
        """Whether any request is being answered."""
        return bool(self._server.server_state.tasks)

    @contextmanager
    def working_for(self, service: Service) -> Iterator[Served]:
        """The app answers for this service until the block ends, and nothing of it goes on afterwards."""
        state = self.app.state
        before = state.service, state.exposition
        state.service, state.exposition = service, Exposition()
        served = Served(self.url, service, self.app)
        try:
            yield served
        finally:
            service.stopping.set()
            for client in served.clients:
                client.close()
            until(lambda: not self.is_at_work, "nothing is under way")
            state.service, state.exposition = before

    def stop(self) -> None:
        """End it."""
        self._server.should_exit = True
        self._thread.join(60)


@contextmanager
def deployed(kind: str, folder: Path) -> Iterator[Service]:
    """A deployment with an empty database of this kind and a data folder of its own."""
    with new_database(kind, folder) as url:
        settings = Settings(
            reelq_database_url=shown(url),
            reelq_data_dir=folder / "data",
            reelq_secret_key="k" * 32,
            nemo_client_id="tests",
        )
        made = Service(settings, Store(url))
        yield made
        made.store.close()


@contextmanager
def serving(service: Service) -> Iterator[Served]:
    """The service on a server of its own, answering until the block ends."""
    server = Server(service)
    try:
        with server.working_for(service) as served:
            yield served
    finally:
        server.stop()


@contextmanager
def rough(served: Served, owner: str, head: str, *headers: str) -> Iterator[socket.socket]:
    """A connection on which a request with these lines has begun: it may announce what it does not send, or hang up."""
    address = urlsplit(served.url)
    with socket.create_connection((address.hostname or "", address.port or 0), 60) as line:
        lines = [f"{head} HTTP/1.1", "Host: test", f"Authorization: Bearer {served.key(owner)}", *headers, "", ""]
        line.sendall("\r\n".join(lines).encode())
        yield line


def status(line: socket.socket) -> int:
    """The status of what comes back."""
    return int(line.recv(4096).split()[1])


def kept(served: Served) -> list[Path]:
    """All files in the storage, whole or not."""
    return sorted(path for path in (served.service.settings.reelq_data_dir / "storage").rglob("*") if path.is_file())


class ApiProcess:
    """The service as people start it, always at the same address."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._environment = environment
        self._log = log
        self._starts = 0
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Run it, and wait until it answers."""
        words = ["-m", "uvicorn", "api.app:app", "--port", str(self.port)]
        self.process = Forked(words, env=self._environment, log=self._log)
        self._starts += 1
        self.process.wait_for("Uvicorn running on", self._starts)

    @property
    def log(self) -> str:
        """What it wrote since it was first started, of its requests too."""
        return self.process.text

    def close(self) -> None:
        """As a crash."""
        self.process.kill()
        self.process.wait()


@dataclass
class Running:
    """A process of the service, and a client of `ann`'s with the key that it uses."""

    client: httpx.Client
    key_id: str
    secret: str
    store: Store
    api: ApiProcess


@contextmanager
def running(folder: Path, **environment: str) -> Iterator[Running]:
    """One with its data in this folder."""
    store = Store(database_url(Settings(reelq_data_dir=folder)))
    upgrade(store)
    key, secret = api_keys.create(store, "ann")
    told = {"REELQ_DATA_DIR": str(folder), "NEMO_CLIENT_ID": "tests", "HOME": str(folder)}
    headers = {"Authorization": f"Bearer {secret}"}
    with (
        closing(store),
        closing(ApiProcess(BARE | told | environment, folder / "log")) as api,
        httpx.Client(base_url=api.url, headers=headers, timeout=60, trust_env=False, verify=NO_TLS) as client,
    ):
        yield Running(client, key.id, secret, store, api)
