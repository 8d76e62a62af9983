"""How much a process grows while it uploads the largest file that the service takes."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from reelq import media
from tests.sandbox_process import SandboxProcess

pytestmark = pytest.mark.benchmark

LIMIT_MB = 30

_UPLOAD = """
import sys, time
from pathlib import Path
from reelq.remote.auth import FreeTokens
from reelq.remote.client import Remote, ask_for_token, open_http
from reelq.settings import Settings
from tests.benchmarks.usage import peak_mb

url, small, large = sys.argv[1:]
attribution = {"X-Skill-Source": "video-models", "X-Skill-Version": "1.0.0", "X-Skill-Platform": "unknown"}
with open_http(Settings(nemo_api_url=url)) as http:
    remote = Remote(http, FreeTokens(lambda: ask_for_token(http, "large", attribution)), attribution)
    session = remote.open_session()
    remote.upload(session.session_id, [Path(small)])
    before, began = peak_mb(), time.monotonic()
    uploaded = remote.upload(session.session_id, [Path(large)])
    print(peak_mb() - before, time.monotonic() - began)
"""


def test_uploading_the_largest_file_grows_the_process_by_less_than_30_mb(
    start_sandbox: Callable[..., SandboxProcess], clip: Path, tmp_path: Path
) -> None:
    large = tmp_path / "large.mp4"
    with large.open("wb") as file:
        file.truncate(media.MAX_BYTES)
    sandbox = start_sandbox(no_latency=True)
    command = [sys.executable, "-c", _UPLOAD, sandbox.url, str(clip), str(large)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=110).stdout
    grown, seconds = map(float, printed.split())
    (session,) = sandbox.ledger()["sessions"].values()
    size = media.MAX_BYTES / 1e6
    print(f"\nupload of {size:.0f} MB: the process grew by {grown:.1f} MB (limit {LIMIT_MB}), {seconds:.1f} s")
    assert [upload["size"] for upload in session["uploads"]] == [clip.stat().st_size, media.MAX_BYTES]
    assert grown < LIMIT_MB
