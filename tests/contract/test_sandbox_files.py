"""The stand-in's sessions, the files that come into them, and the real ones that come of them."""

import hashlib
import io
import subprocess
from functools import partial
from pathlib import Path

import imageio_ffmpeg
import pytest
from PIL import Image, ImageFont

from sandbox.captions import drawable
from sandbox.renders import caption
from tests.sandbox_process import Caller, SandboxProcess, Start, outcome, until


def _memory_mb(process_id: int) -> float:
    """The most that a process has ever held, in megabytes."""
    lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def test_an_uploaded_clip_is_measured_lies_on_the_draft_and_can_be_fetched_again_and_a_photo_beside_it_is_not_shown(
    sandbox: SandboxProcess, caller: Caller, clip: Path
) -> None:
    session, content = caller.open_session(), clip.read_bytes()
    Image.new("RGB", (64, 48), "teal").save(photo := io.BytesIO(), "PNG")
    data = caller.upload(session, ("my beach.mp4", content), ("face.png", photo.getvalue())).json()["data"]
    assert data["session_state_applied"] is True
    file, face = data["files"]
    assert (file["filename"], file["file_type"], file["fps"]) == ("my beach.mp4", "video", 25)
    assert (file["width"], file["height"], file["hash"]) == (320, 240, hashlib.sha256(content).hexdigest())
    assert file["duration"] == pytest.approx(2, abs=0.1)
    assert (face["file_type"], face["width"]) == ("image", 64)
    noted = sandbox.ledger()["sessions"][session]["uploads"][0]
    assert (noted["size"], noted["sha256"]) == (len(content), file["hash"])
    state = caller.state(session).json()["data"]
    assert (state["session_id"], state["task_id"][:5]) == (session, "task_")
    assert state["state"].keys() == {"draft", "video_infos", "generated_media", "canvas_config", "video_analyses"}
    assert state["state"]["draft"].keys() > {"t", "d", "m"}
    (track,) = state["state"]["draft"]["t"]
    (segment,) = track["sg"]
    assert (track["tt"], segment["m"]["name"], segment["d"]) == (0, "my beach.mp4", pytest.approx(2000, abs=100))
    fetch = partial(caller.http.get, file["cdn_url"])
    assert fetch().content == content
    part = fetch(headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, content[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(content)}"
    assert part.headers["etag"] == fetch().headers["etag"]
    assert fetch(headers={"Range": f"bytes={len(content)}-"}).status_code == 416


def test_an_address_that_can_not_be_fetched_is_refused(sandbox: SandboxProcess, caller: Caller, clip: Path) -> None:
    path = f"/api/upload-video/nemo_agent/me/{caller.open_session()}"
    for url, told in ((f"{sandbox.url}/cdn/none.mp4", "404"), (clip.as_uri(), "http or https")):
        refused = caller.http.post(path, json={"urls": [url], "source_type": "url"})
        assert (refused.status_code, told in refused.json()["message"]) == (422, True)


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


def _described(path: Path) -> str:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-hide_banner", "-i", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30).stderr


def _result(caller: Caller, session: str, tmp_path: Path) -> Path:
    caller.render(session, name := f"render_{session}").raise_for_status()
    status, url, reason = caller.end_of(name)
    assert status == "completed", reason
    path = tmp_path / "result.mp4"
    path.write_bytes(caller.http.get(str(url)).raise_for_status().content)
    return path


def test_a_result_is_a_playable_h264_mp4_of_the_clip_with_its_sound_and_the_instruction_in_the_picture(
    caller: Caller, session: str, clip: Path, tmp_path: Path
) -> None:
    caller.send(session, "make it warmer")
    path = _result(caller, session, tmp_path)
    told = _described(path)
    for fact in ("Video: h264", "yuv420p", "320x240", "Audio: aac", "Duration: 00:00:02.0"):
        assert fact in told
    # Fast start: what a player needs to begin with stands before the pictures.
    assert path.read_bytes().index(b"moov") < path.read_bytes().index(b"mdat")

    def foot_of(video: Path) -> bytes:
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-i", str(video), "-frames:v", "1"]
        command += ["-vf", "crop=320:40:0:200,format=gray", "-f", "rawvideo", "-"]
        return subprocess.run(command, capture_output=True, check=True, timeout=30).stdout

    before, after = foot_of(clip), foot_of(path)
    assert len(before) == len(after) == 320 * 40
    # A dark band with white letters on it: both darker and, here and there, quite white.
    assert sum(after) < 0.8 * sum(before)
    assert max(after) > 220


@pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "webp"])
def test_a_large_photo_becomes_a_short_clip_that_fits_the_frame(caller: Caller, tmp_path: Path, kind: str) -> None:
    photo = io.BytesIO()
    Image.new("RGB", (2001, 1501), "teal").save(photo, kind)
    session = caller.open_session()
    caller.upload(session, (f"photo.{kind}", photo.getvalue())).raise_for_status()
    told = _described(_result(caller, session, tmp_path))
    assert "1080x810" in told
    assert "Duration: 00:00:03.0" in told


def test_a_trimmed_clip_is_really_shorter_and_a_session_without_a_picture_renders_a_plain_one(
    caller: Caller, session: str, tmp_path: Path
) -> None:
    caller.send(session, "trim to 1 second")
    assert "Duration: 00:00:01.0" in _described(_result(caller, session, tmp_path))
    caller.send(plain := caller.open_session(), "generate a clip of rain")
    assert "720x1280" in _described(_result(caller, plain, tmp_path))


def test_a_clip_that_no_encoder_can_read_is_taken_without_a_length_and_ends_as_failed_with_a_reason(
    caller: Caller,
) -> None:
    session = caller.open_session()
    (file,) = caller.upload(session, ("odd.mp4", b"not a video")).json()["data"]["files"]
    assert (file["duration"], file["width"]) == (None, None)
    caller.render(session, "render_odd").raise_for_status()
    status, url, reason = caller.end_of("render_odd")
    assert (status, url) == ("failed", None)
    assert reason is not None
    assert "encoder" in reason


def test_equal_orders_are_encoded_once_and_the_answer_comes_in_each_of_its_forms(
    sandbox: SandboxProcess, caller: Caller, clip: Path
) -> None:
    sandbox.top_up(1000)
    urls, tags, shapes = set(), set(), []
    for number in range(4):
        session = caller.open_session()
        caller.upload(session, (f"beach-{number}.mp4", clip.read_bytes()))
        caller.send(session, "make it warmer")
        caller.render(session, f"render_{number}")
        urls.add(url := str(caller.end_of(f"render_{number}")[1]))
        tags.add(caller.http.get(url).headers["etag"])
        body = caller.look(f"render_{number}").json()
        shapes.append((sorted(body), sorted(body.get("data", {}))))
        assert body.get("data", {}).get("progress", 100) == 100
    assert len(urls) == 4
    # A tag tells a file's time and size: what was encoded again would have another time.
    assert len(tags) == 1
    data = ["id", "outputUrl", "progress", "status"]
    envelope = ["code", "data", "message"]
    assert shapes == [
        (["output", "status"], []),
        (["data", "success"], data),
        (envelope, data),
        (envelope, ["output", "status"]),
    ]


def test_a_render_goes_from_pending_through_processing_to_completed(
    sandbox: SandboxProcess, caller: Caller, session: str
) -> None:
    sandbox.faults(render_seconds=0.5, render_stuck={"count": 1})
    assert outcome(caller.render(session, "render_stuck"))[0] == "pending"
    until(lambda: outcome(caller.look("render_stuck"))[0] == "processing")
    other = caller.open_session()
    caller.render(other, "render_a", caller.draft(session)).raise_for_status()
    assert caller.end_of("render_a")[0] == "completed"
    stuck, note = sandbox.ledger()["renders"]
    assert stuck["ended_at"] is None
    states = [look["status"] for look in note["looks"]]
    assert states == sorted(states, key=["pending", "processing", "completed"].index)
    assert len(note["spacing"]) == len(states)


@pytest.mark.parametrize("header", ["X-Skill-Source", "X-Skill-Version", "X-Skill-Platform"])
def test_an_export_of_nothing_or_without_an_attribution_header_is_refused(caller: Caller, header: str) -> None:
    session = caller.open_session()
    empty = caller.render(session, "render_a")
    assert (empty.status_code, "nothing to render" in empty.json()["message"]) == (422, True)
    del caller.http.headers[header]
    assert caller.render(session, "render_a", {"t": [{"tt": 0, "sg": [{"d": 1000}]}]}).status_code == 402


def test_the_caption_of_a_session_is_its_newest_instruction_with_its_number() -> None:
    assert caption(["make it warmer"]) == "make it warmer"
    assert caption(["make it warmer " * 30, "cut the pauses", 'add a title "Dawn"']) == '3. add a title "Dawn"'
    assert caption([]) == ""


def test_what_no_font_can_draw_is_said_in_words_and_not_drawn_as_boxes() -> None:
    builtin = ImageFont.load_default(20)
    assert drawable("海滩，日落", builtin) == "[5 characters that no font on this machine has]"
    assert drawable("Add 海滩 now", builtin) == "Add  [2 CJK characters, no font here]  now"
    assert drawable("plain words", builtin) == "plain words"
