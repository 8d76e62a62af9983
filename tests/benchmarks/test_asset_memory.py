"""How much the service grows while the largest file comes in, as it is and within a form; and that all of it came."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from reelq import media
from reelq.settings import Settings
from reelq.store import apikeys
from reelq.store.migrate import upgrade
from reelq.store.session import Store, database_url
from tests.benchmarks.race import rest_service
from tests.benchmarks.usage import peak_mb
from tests.servers import free_port

pytestmark = pytest.mark.benchmark

LIMIT_MB = 30
HEAD = b"\0\0\0\x18ftypmp42"
PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Serving:
    """A service as a process of its own."""

    process: int
    client: httpx.Client
    folder: Path


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    settings = Settings(reelq_data_dir=tmp_path)
    store = Store(database_url(settings))
    upgrade(store)
    key = apikeys.make(store, "ann")[1]
    store.close()
    env = {"PATH": "", "HOME": str(tmp_path), "REELQ_DATA_DIR": str(tmp_path), "NEMO_CLIENT_ID": "tests"}
    port, headers = free_port(), {"Authorization": f"Bearer {key}"}
    with (
        rest_service(env, tmp_path, port) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60, trust_env=False) as client,
    ):
        yield Serving(process.pid, client, tmp_path / "storage")


def _video(size: int) -> Iterator[bytes]:
    yield HEAD
    for at in range(len(HEAD), size, PIECE):
        yield bytes(min(PIECE, size - at))


def _as_it_is(client: httpx.Client, size: int) -> httpx.Response:
    headers = {"Content-Length": str(size)}
    return client.post("/v1/assets", params={"name": "a.mp4"}, content=_video(size), headers=headers)


def _in_a_form(client: httpx.Client, size: int) -> httpx.Response:
    def form() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="manifest"; filename="m.csv"\r\n\r\n'
        yield b"file,instruction\na.mp4,Trim\n\r\n"
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.mp4"\r\n\r\n'
        yield from _video(size)
        yield b"\r\n--x--\r\n"

    return client.post("/v1/batches", content=form(), headers={"Content-Type": "multipart/form-data; boundary=x"})


@pytest.mark.parametrize("send", [_as_it_is, _in_a_form])
def test_the_largest_file_grows_the_service_by_less_than_30_mb(
    serving: Serving, send: Callable[[httpx.Client, int], httpx.Response]
) -> None:
    assert send(serving.client, 1_000_000).status_code == 201
    before, began = peak_mb(serving.process), time.monotonic()
    answer = send(serving.client, media.MAX_BYTES)
    grown, seconds = peak_mb(serving.process) - before, time.monotonic() - began
    assert answer.status_code == 201, answer.text
    size = media.MAX_BYTES / 1e6
    how = send.__name__.replace("_", " ").strip()
    print(f"\n{size:.0f} MB {how}: the service grew by {grown:.1f} MB (limit {LIMIT_MB}), {seconds:.1f} s")
    assert [path.stat().st_size for path in serving.folder.glob("??/*") if path.stat().st_size > 1_000_000] == [
        media.MAX_BYTES
    ]
    assert grown < LIMIT_MB
    refused = send(serving.client, media.MAX_BYTES + 1)
    assert (refused.status_code, refused.json()["code"]) == (413, "file_too_large")
