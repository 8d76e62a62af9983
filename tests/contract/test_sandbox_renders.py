"""The stand-in's exports and the real files that come of them."""

import io
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import imageio_ffmpeg
import pytest
from PIL import Image, ImageFont

from sandbox.captions import drawable
from sandbox.renders import caption
from tests.sandbox_process import NO_TLS, Caller, SandboxProcess


def _outcome(answer: httpx.Response) -> tuple[str, str | None, str | None]:
    """Status, address and reason out of any of the forms."""
    body: dict[str, Any] = answer.json()
    inner = body.get("data", body)
    return inner["status"], inner.get("outputUrl") or inner.get("output", {}).get("url"), inner.get("error")


def _wait(caller: Caller, render_id: str) -> tuple[str, str | None, str | None]:
    for _ in range(1200):
        outcome = _outcome(caller.look(render_id))
        if outcome[0] in {"completed", "failed"}:
            return outcome
        time.sleep(0.05)
    raise AssertionError(f"{render_id} never ended")


def _described(path: Path) -> str:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-hide_banner", "-i", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30).stderr


@pytest.fixture
def session(caller: Caller, clip: Path) -> str:
    """A session with the clip in it."""
    opened = caller.open_session()
    caller.upload(opened, ("beach.mp4", clip.read_bytes())).raise_for_status()
    return opened


def _result(caller: Caller, session: str, tmp_path: Path) -> Path:
    caller.render(session, "render_a").raise_for_status()
    status, url, reason = _wait(caller, "render_a")
    assert status == "completed", reason
    path = tmp_path / "result.mp4"
    path.write_bytes(caller.http.get(str(url)).raise_for_status().content)
    return path


def test_a_result_is_a_playable_h264_mp4_of_the_clip_with_its_sound(
    caller: Caller, session: str, tmp_path: Path
) -> None:
    caller.send(session, 'add a title "Dawn"')
    path = _result(caller, session, tmp_path)
    told = _described(path)
    assert "Video: h264" in told
    assert "yuv420p" in told
    assert "320x240" in told
    assert "Audio: aac" in told
    assert "Duration: 00:00:02.0" in told
    # Fast start: what a player needs to begin with stands before the pictures.
    assert path.read_bytes().index(b"moov") < path.read_bytes().index(b"mdat")


def test_the_instruction_is_burned_into_the_picture(caller: Caller, session: str, clip: Path, tmp_path: Path) -> None:
    caller.send(session, "make it warmer")
    path = _result(caller, session, tmp_path)

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


def test_a_session_without_a_picture_renders_a_plain_one(caller: Caller, tmp_path: Path) -> None:
    session = caller.open_session()
    caller.send(session, "generate a clip of rain")
    assert "720x1280" in _described(_result(caller, session, tmp_path))


def test_a_trimmed_clip_is_really_shorter(caller: Caller, session: str, tmp_path: Path) -> None:
    caller.send(session, "trim to 1 second")
    assert "Duration: 00:00:01.0" in _described(_result(caller, session, tmp_path))


def test_a_clip_that_no_encoder_can_read_ends_as_failed_with_a_reason(caller: Caller) -> None:
    session = caller.open_session()
    caller.upload(session, ("odd.mp4", b"not a video")).raise_for_status()
    caller.render(session, "render_odd").raise_for_status()
    status, url, reason = _wait(caller, "render_odd")
    assert (status, url) == ("failed", None)
    assert reason is not None
    assert "encoder" in reason


def test_equal_orders_are_encoded_once(sandbox: SandboxProcess, caller: Caller, clip: Path) -> None:
    sandbox.top_up(1000)
    urls, tags = [], []
    for number in range(3):
        session = caller.open_session()
        caller.upload(session, (f"beach-{number}.mp4", clip.read_bytes()))
        caller.send(session, "make it warmer")
        caller.render(session, f"render_{number}")
        urls.append(str(_wait(caller, f"render_{number}")[1]))
        tags.append(caller.http.get(urls[-1]).headers["etag"])
    assert len(set(urls)) == 3
    # A tag tells a file's time and size: what was encoded again would have another time.
    assert len(set(tags)) == 1


def test_the_answer_comes_in_each_of_its_forms(caller: Caller, clip: Path) -> None:
    shapes = []
    for number in range(4):
        session = caller.open_session()
        caller.upload(session, ("beach.mp4", clip.read_bytes()))
        caller.render(session, f"render_{number}")
        _wait(caller, f"render_{number}")
        body = caller.look(f"render_{number}").json()
        shapes.append((sorted(body), sorted(body.get("data", {}))))
    data = ["id", "outputUrl", "progress", "status"]
    envelope = ["code", "data", "message"]
    assert shapes == [
        (["output", "status"], []),
        (["data", "success"], data),
        (envelope, data),
        (envelope, ["output", "status"]),
    ]


def test_a_render_goes_from_pending_through_processing_to_completed(
    start_sandbox: Callable[..., SandboxProcess], make_caller: Callable[..., Caller]
) -> None:
    sandbox = start_sandbox(no_latency=True, renders="data", faults={"render_seconds": 3})
    caller = make_caller(sandbox.url)
    caller.take_token()
    session = caller.open_session()
    caller.send(session, 'add a title "Dawn"')
    seen = [caller.render(session, "render_a").json()["data"]["status"]]
    progress = []
    while seen[-1] != "completed":
        time.sleep(0.05)
        looked = caller.look("render_a").json()["data"]
        seen.append(looked["status"])
        progress.append(looked["progress"])
    assert list(dict.fromkeys(seen)) == ["pending", "processing", "completed"]
    assert progress == sorted(progress)
    assert progress[-1] == 100
    (note,) = sandbox.ledger()["renders"]
    assert [look["status"] for look in note["looks"]] == seen[1:]
    assert all(gap >= 0.05 for gap in note["spacing"])


def test_a_used_id_is_refused_as_a_duplicate(caller: Caller, session: str) -> None:
    caller.render(session, "render_a").raise_for_status()
    again = caller.render(session, "render_a")
    assert again.status_code == 409
    assert "duplicate" in again.json()["message"]


def test_a_session_has_one_export_at_a_time(sandbox: SandboxProcess, caller: Caller, session: str) -> None:
    sandbox.faults(render_stuck={"count": 1})
    caller.render(session, "render_a").raise_for_status()
    second = caller.render(session, "render_b")
    assert second.status_code == 409
    assert "duplicate" not in second.json()["message"]
    assert caller.http.post("/api/render/proxy/lambda/render_a/cancel").json()["code"] == 0
    assert _outcome(caller.look("render_a"))[0] == "failed"
    assert caller.render(session, "render_c").status_code == 200


def test_an_empty_draft_is_not_rendered(caller: Caller) -> None:
    answer = caller.render(caller.open_session(), "render_a")
    assert answer.status_code == 422
    assert "nothing to render" in answer.json()["message"]


@pytest.mark.parametrize("header", ["X-Skill-Source", "X-Skill-Version", "X-Skill-Platform"])
def test_an_export_without_an_attribution_header_answers_402(caller: Caller, session: str, header: str) -> None:
    draft = caller.draft(session)
    del caller.http.headers[header]
    assert caller.render(session, "render_a", draft).status_code == 402


def test_an_unknown_render_is_a_404_and_so_is_another_accounts(
    caller: Caller, make_caller: Callable[..., Caller], session: str
) -> None:
    caller.render(session, "render_a").raise_for_status()
    other = make_caller()
    other.take_token()
    assert caller.look("render_none").status_code == 404
    assert other.look("render_a").status_code == 404


def test_the_download_endpoint_gives_the_file_in_ranges_where_the_address_leads_nowhere(
    sandbox: SandboxProcess, caller: Caller, session: str
) -> None:
    sandbox.faults(result_unreachable=1)
    caller.render(session, "render_a").raise_for_status()
    _, url, _ = _wait(caller, "render_a")
    with pytest.raises(httpx.ConnectError):
        httpx.get(str(url), trust_env=False, verify=NO_TLS)
    whole = caller.http.get("/api/render/proxy/render_a/download")
    part = caller.http.get("/api/render/proxy/render_a/download", headers={"Range": "bytes=100-"})
    assert whole.content[4:8] == b"ftyp"
    assert (part.status_code, part.content) == (206, whole.content[100:])


def test_the_caption_of_a_session_is_its_newest_instruction_with_its_number() -> None:
    assert caption(["make it warmer"]) == "make it warmer"
    assert caption(["make it warmer " * 30, "cut the pauses", 'add a title "Dawn"']) == '3. add a title "Dawn"'
    assert caption([]) == ""


def test_what_no_font_can_draw_is_said_in_words_and_not_drawn_as_boxes() -> None:
    builtin = ImageFont.load_default(20)
    assert drawable("海滩，日落", builtin) == "[5 characters that no font on this machine has]"
    assert drawable("Add 海滩 now", builtin) == "Add  [2 CJK characters, no font here]  now"
    assert drawable("plain words", builtin) == "plain words"
