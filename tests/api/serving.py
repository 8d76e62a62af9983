"""The REST service on a socket of its own, in a thread of the test, and clients with keys to it."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.service import Service
from reelq.settings import Settings
from reelq.store import apikeys
from reelq.store.clients import Scope
from reelq.store.migrate import upgrade
from reelq.store.session import Store
from tests.databases import new_database, shown


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

    def app_routes(self) -> Sequence[Any]:
        """Whatever the app answers to."""
        return self.app.routes

    def key(self, owner: str, scope: Scope = Scope.ADMIN) -> str:
        """A new key."""
        return apikeys.make(self.store, owner, scope)[1]

    def client(self, owner: str = "", scope: Scope = Scope.ADMIN, **options: Any) -> httpx.Client:
        """Somebody with a new key of the owner's; nobody in particular, without a key, where none is named."""
        headers = {"Authorization": f"Bearer {self.key(owner, scope)}"} if owner else {}
        self.clients.append(httpx.Client(base_url=self.url, headers=headers, timeout=20, trust_env=False, **options))
        return self.clients[-1]


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
        store = Store(url)
        upgrade(store)
        made = Service(settings, store)
        yield made
        made.close()


@contextmanager
def serving(service: Service) -> Iterator[Served]:
    """The service, answering until the block ends."""
    app = create_app(service)
    config = uvicorn.Config(app, port=0, log_level="warning", ws="none", timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="api under test")
    thread.start()
    served = Served("", service, app)
    try:
        _wait_until(lambda: server.started)
        served.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        yield served
    finally:
        service.stopping.set()
        for client in served.clients:
            client.close()
        server.should_exit = True
        thread.join(10)


def _wait_until(so: Any, seconds: float = 10) -> None:
    over = time.monotonic() + seconds
    while not so():
        if time.monotonic() > over:
            raise TimeoutError("the service did not start")
        time.sleep(0.005)
