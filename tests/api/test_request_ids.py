"""What the service writes of its requests: each line an object that names the request, whoever asked, and no key."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from reelq.settings import Settings
from reelq.store import apikeys
from reelq.store.migrate import upgrade
from reelq.store.session import Store, database_url

_ROOT: Final = Path(__file__).parents[2]


@dataclass
class Running:
    """The service as people start it, and where its log goes."""

    client: httpx.Client
    key_id: str
    secret: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def ended(self) -> list[dict[str, Any]]:
        """Told to stop: all that it has written."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    store = Store(database_url(Settings(reelq_data_dir=tmp_path)))
    upgrade(store)
    key, secret = apikeys.make(store, "ann")
    store.close()
    command = [sys.executable, "-m", "uvicorn", "api.app:app", "--port", "0"]
    told = {
        "REELQ_DATA_DIR": str(tmp_path),
        "REELQ_LOG_FORMAT": "json",
        "NEMO_CLIENT_ID": "tests",
        "HOME": str(tmp_path),
    }
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=_ROOT, env={"PATH": os.environ["PATH"], **told}, stdout=out, stderr=out)
    try:
        headers = {"Authorization": f"Bearer {secret}"}
        with httpx.Client(base_url=_address(log), headers=headers, timeout=20, trust_env=False) as client:
            yield Running(client, key.id, secret, process, log)
    finally:
        process.kill()
        process.wait()


def _address(log: Path) -> str:
    over = time.monotonic() + 30
    while time.monotonic() < over:
        if found := re.search(r"Uvicorn running on (\S+) ", log.read_text()):
            return found[1]
        time.sleep(0.05)
    raise TimeoutError(log.read_text())


def test_every_line_is_an_object_and_a_requests_lines_say_which_and_whose(running: Running) -> None:
    ours = running.client.get("/v1/batches").raise_for_status().headers["X-Request-ID"]
    named = running.client.get("/v1/skills", headers={"X-Request-ID": "from-the-proxy_1"})
    assert named.headers["X-Request-ID"] == "from-the-proxy_1"
    evil = running.client.get("/v1/skills", headers={"X-Request-ID": "a b\x01{}"}).headers["X-Request-ID"]
    assert re.fullmatch("[0-9a-f]{16}", evil)
    refused = running.client.get("/v1/batches", headers={"Authorization": "Bearer rq_wrong"})
    assert refused.status_code == 401
    lines = running.ended()
    by_request = {line["request"]: line for line in lines if "request" in line}
    assert by_request.keys() == {ours, "from-the-proxy_1", evil, refused.headers["X-Request-ID"]}
    for request in (ours, "from-the-proxy_1", evil):
        assert (by_request[request]["key"], by_request[request]["owner"]) == (running.key_id, "ann")
    assert "owner" not in by_request[refused.headers["X-Request-ID"]]
    assert running.secret not in running.log.read_text()
    assert "Started server process" in lines[0]["message"]
