"""How much a process grows while the largest file comes in or goes out; and that all of it arrived."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from reelq import media
from reelq.settings import Settings
from reelq.store import api_keys
from reelq.store.db.engine import Store, database_url
from reelq.store.db.migrations import upgrade
from tests.benchmarks.race import rest_service
from tests.benchmarks.usage import peak_mb
from tests.sandbox_process import SandboxProcess
from tests.servers import free_port

pytestmark = pytest.mark.benchmark

LIMIT_MB = 30
HEAD = b"\0\0\0\x18ftypmp42"
PIECE = 1 << 20

_UPLOAD = """
import sys, time
from pathlib import Path
from reelq.nemo.client import Remote, request_token
from reelq.nemo.transport import open_http
from reelq.settings import Settings
from tests.benchmarks.usage import peak_mb
from tests.sandbox_process import ATTRIBUTION
from tests.tokens import AskedTokens

url, small, large = sys.argv[1:]
with open_http(Settings(nemo_api_url=url)) as http:
    remote = Remote(http, AskedTokens(lambda: request_token(http, "large", ATTRIBUTION)), ATTRIBUTION)
    session = remote.open_session()
    remote.upload(session.session_id, [Path(small)])
    before, began = peak_mb(), time.monotonic()
    uploaded = remote.upload(session.session_id, [Path(large)])
    print(peak_mb() - before, time.monotonic() - began)
"""


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


def _holds(what: str, grown: float, seconds: float) -> None:
    print(f"\n{media.MAX_BYTES / 1e6:.0f} MB {what}: {grown:.1f} MB more (limit {LIMIT_MB}), {seconds:.1f} s")
    assert grown < LIMIT_MB


@pytest.mark.parametrize("send", [_as_it_is, _in_a_form])
def test_the_largest_file_grows_the_service_by_less_than_30_mb(
    tmp_path: Path, send: Callable[[httpx.Client, int], httpx.Response]
) -> None:
    store = Store(database_url(Settings(reelq_data_dir=tmp_path)))
    upgrade(store)
    headers = {"Authorization": f"Bearer {api_keys.create(store, 'ann')[1]}"}
    store.close()
    env = {"PATH": "", "HOME": str(tmp_path), "REELQ_DATA_DIR": str(tmp_path), "NEMO_CLIENT_ID": "tests"}
    port = free_port()
    with (
        rest_service(env, tmp_path, port) as service,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60, trust_env=False) as client,
    ):
        assert send(client, 1_000_000).status_code == 201
        before, began = peak_mb(service.pid), time.monotonic()
        answer = send(client, media.MAX_BYTES)
        grown, seconds = peak_mb(service.pid) - before, time.monotonic() - began
        assert answer.status_code == 201, answer.text
        sizes = [path.stat().st_size for path in (tmp_path / "storage").glob("??/*")]
        assert [size for size in sizes if size > 1_000_000] == [media.MAX_BYTES]
        _holds(f"come in{send.__name__.replace('_', ' ')}", grown, seconds)
        refused = send(client, media.MAX_BYTES + 1)
    assert (refused.status_code, refused.json()["code"]) == (413, "file_too_large")


def test_uploading_the_largest_file_grows_the_process_by_less_than_30_mb(
    start_sandbox: Callable[..., SandboxProcess], clip: Path, tmp_path: Path
) -> None:
    large = tmp_path / "large.mp4"
    with large.open("wb") as file:
        file.truncate(media.MAX_BYTES)
    sandbox = start_sandbox(no_latency=True)
    command = [sys.executable, "-c", _UPLOAD, sandbox.url, str(clip), str(large)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=110).stdout
    (session,) = sandbox.ledger()["sessions"].values()
    assert [upload["size"] for upload in session["uploads"]] == [clip.stat().st_size, media.MAX_BYTES]
    _holds("uploaded", *map(float, printed.split()))
