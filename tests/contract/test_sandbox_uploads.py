"""The stand-in's sessions and uploads, asked for in plain httpx."""

import hashlib
import io
from functools import partial
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.sandbox_process import Caller, SandboxProcess, Start


def _memory_mb(process_id: int) -> float:
    """The most that a process has ever held, in megabytes."""
    lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def test_an_uploaded_clip_is_measured_and_lies_on_the_draft(
    sandbox: SandboxProcess, caller: Caller, clip: Path
) -> None:
    session = caller.open_session()
    data = caller.upload(session, ("beach.mp4", clip.read_bytes())).json()["data"]
    (file,) = data["files"]
    assert data["session_state_applied"] is True
    assert (file["filename"], file["file_type"], file["width"], file["height"]) == ("beach.mp4", "video", 320, 240)
    assert file["duration"] == pytest.approx(2, abs=0.1)
    assert file["fps"] == 25
    assert file["hash"] == hashlib.sha256(clip.read_bytes()).hexdigest()
    (track,) = caller.draft(session)["t"]
    assert (track["tt"], track["sg"][0]["m"]["name"]) == (0, "beach.mp4")
    assert track["sg"][0]["d"] == pytest.approx(2000, abs=100)
    (noted,) = sandbox.ledger()["sessions"][session]["uploads"]
    assert (noted["size"], noted["sha256"]) == (clip.stat().st_size, file["hash"])


def test_the_uploaded_file_can_be_fetched_again_with_ranges(caller: Caller, clip: Path) -> None:
    file = caller.upload(caller.open_session(), ("my beach.mp4", clip.read_bytes())).json()["data"]["files"][0]
    fetch = partial(caller.http.get, file["cdn_url"])
    assert fetch().content == clip.read_bytes()
    part = fetch(headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, clip.read_bytes()[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{clip.stat().st_size}"
    assert part.headers["etag"] == fetch().headers["etag"]
    assert fetch(headers={"Range": f"bytes={clip.stat().st_size}-"}).status_code == 416


def test_several_files_go_into_one_session_and_a_photo_beside_a_clip_is_not_shown(caller: Caller, clip: Path) -> None:
    session = caller.open_session()
    Image.new("RGB", (64, 48), "teal").save(photo := io.BytesIO(), "PNG")
    data = caller.upload(session, ("beach.mp4", clip.read_bytes()), ("face.png", photo.getvalue())).json()["data"]
    kinds = [(file["file_type"], file["width"]) for file in data["files"]]
    assert kinds == [("video", 320), ("image", 64)]
    names = [segment["m"]["name"] for track in caller.draft(session)["t"] for segment in track["sg"]]
    assert names == ["beach.mp4"]


def test_the_service_fetches_an_address_by_itself(
    caller: Caller, session: str, clip: Path, sandbox: SandboxProcess
) -> None:
    def fetched(url: str) -> httpx.Response:
        path = f"/api/upload-video/nemo_agent/me/{caller.open_session()}"
        return caller.http.post(path, json={"urls": [url], "source_type": "url"})

    url = caller.upload(session, ("beach.mp4", clip.read_bytes())).json()["data"]["files"][0]["cdn_url"]
    (file,) = fetched(f"{url}?signature=1").json()["data"]["files"]
    assert (file["filename"], file["width"]) == (url.rpartition("/")[2], 320)
    missing = fetched(f"{sandbox.url}/cdn/none.mp4")
    assert missing.status_code == 422
    assert "404" in missing.json()["message"]
    assert fetched(clip.as_uri()).status_code == 422


def test_a_file_that_is_too_large_is_code_4002_and_a_large_one_is_never_held_whole(
    start_sandbox: Start, tmp_path: Path
) -> None:
    sandbox = start_sandbox(no_latency=True, max_file_mb=60)
    caller = sandbox.guest()
    before = _memory_mb(sandbox.process.pid)
    answers = []
    for megabytes in (59, 61):
        path = tmp_path / "long.mp4"
        with path.open("wb") as file:
            file.truncate(megabytes << 20)
        with path.open("rb") as file:
            session = caller.open_session()
            answers.append(caller.http.post(f"/api/upload-video/nemo_agent/me/{session}", files={"files": file}))
    assert [answer.json()["code"] for answer in answers] == [0, 4002]
    assert answers[1].status_code == 413
    assert _memory_mb(sandbox.process.pid) - before < 30


def test_sessions_and_exports_of_another_account_are_not_there(
    sandbox: SandboxProcess, caller: Caller, session: str
) -> None:
    caller.render(session, "render_a").raise_for_status()
    other = sandbox.guest()
    assert other.state(session).json()["code"] == 1002
    assert other.look("render_a").status_code == 404


def test_the_state_names_its_session_and_keeps_the_drafts_other_keys(caller: Caller) -> None:
    session = caller.open_session()
    data = caller.state(session).json()["data"]
    assert data["session_id"] == session
    assert data["task_id"].startswith("task_")
    expected = {"draft", "video_infos", "generated_media", "canvas_config", "video_analyses"}
    assert data["state"].keys() == expected
    assert data["state"]["draft"].keys() > {"t", "d", "m"}
