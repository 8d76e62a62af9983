"""Exports: submitting, polling, cancelling and downloading them, and every file of the CDN."""

import asyncio
import mimetypes
import re
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from sandbox.draft import TrackType
from sandbox.ledger import attribution, now
from sandbox.media import LONGEST_SECONDS, STILL_SECONDS, EncodeFailed, EncodeJob
from sandbox.middleware import Call
from sandbox.responses import Code, Json, Refusal, hang_up, success, wrap
from sandbox.service import Service
from sandbox.state import Render, Session

_UNFINISHED: Final = frozenset({"pending", "processing"})
_STEPS: Final = 10
"""How many times the progress advances; a render is pending during the first step."""
_UNREACHABLE: Final = "http://127.0.0.1:1/"
"""Nothing listens on port 1."""
_DOWNLOAD_FAULTS: Final = ("download_cut", "download_short", "download_corrupted", "download_no_ranges")
_RANGE: Final = re.compile(r"bytes=(\d+)-(\d*)$")


async def submit(call: Call) -> Response:
    headers = attribution(call.request.headers)
    if not all(headers.values()):
        raise Refusal(Code.PLAN_REQUIRED, "export blocked: attribution headers are missing")
    body = await call.json()
    session = call.session(body.get("sessionId"))
    render_id = body.get("id")
    _check(call, session, render_id, body.get("draft"))
    render = Render(str(render_id), call.account, session, next(call.service.render_forms), headers)
    call.service.state.renders[render.id] = call.service.ledger.renders[render.id] = render
    session.exporting = render.id
    fault = next((fault for fault in ("render_failed", "render_stuck") if call.strikes(fault)), "")
    call.service.run_in_background(_work(call.service, render, _job(call.service, session, body["draft"]), fault))
    if call.strikes("render_duplicate"):
        raise _duplicate(render.id)
    return _answer(render, str(call.request.base_url))


async def poll(call: Call) -> Response:
    render = _find(call)
    if call.strikes("render_forgotten"):
        del call.service.state.renders[render.id]
        _free_session(render)
        raise Refusal(Code.NOT_FOUND, "no such render")
    render.looks.append({**now(), "status": render.status})
    unreachable = render.status == "completed" and call.strikes("result_unreachable")
    return _answer(render, _UNREACHABLE if unreachable else str(call.request.base_url))


async def cancel(call: Call) -> Response:
    render = _find(call)
    _end(render, "failed", reason="cancelled")
    return success({"id": render.id, "status": render.status})


def _find(call: Call) -> Render:
    call.record.about = call.param("render_id")
    render = call.service.state.renders.get(call.record.about)
    if render is None or render.account is not call.account:
        raise Refusal(Code.NOT_FOUND, "no such render")
    return render


def _check(call: Call, session: Session, render_id: object, draft: object) -> None:
    if not isinstance(render_id, str) or not render_id:
        raise Refusal(Code.UNPROCESSABLE, "id is missing")
    if render_id in call.service.state.renders:
        raise _duplicate(render_id)
    if session.exporting:
        raise Refusal(Code.CONFLICT, "another export of this session is still running")
    if not _segments(draft):
        raise Refusal(Code.UNPROCESSABLE, "nothing to render: the draft has no segments")
    if call.strikes("render_refused"):
        raise Refusal(Code.UNPROCESSABLE, "this draft cannot be rendered")


def _duplicate(render_id: str) -> Refusal:
    return Refusal(Code.CONFLICT, f"duplicate render id: {render_id}")


def _segments(draft: object) -> list[tuple[object, dict[str, Any]]]:
    """The segments of a draft from a client, each with its track's type; anything of another shape is skipped."""
    tracks = draft.get("t") if isinstance(draft, dict) else None
    valid = [track for track in tracks if isinstance(track, dict)] if isinstance(tracks, list) else []
    return [
        (track.get("tt"), segment) for track in valid for segment in track.get("sg") or () if isinstance(segment, dict)
    ]


def _job(service: Service, session: Session, draft: object) -> EncodeJob:
    """What to encode: the session's first clip, else its first photo, for as long as the draft's video lasts."""
    first_by_kind = {media.kind: media for media in reversed(session.media)}
    source = first_by_kind.get("video") or first_by_kind.get("image")
    lengths = [segment.get("d") for kind, segment in _segments(draft) if kind == TrackType.VIDEO]
    requested = sum(length for length in lengths if isinstance(length, int | float)) / 1000 or STILL_SECONDS
    maximum = LONGEST_SECONDS if source and source.kind == "video" else STILL_SECONDS
    return EncodeJob(source, caption([*service.ledger.applied_texts(session.id)]), min(requested, maximum))


def caption(applied: Sequence[str]) -> str:
    """The text that a result shows instead of an edit: the newest instruction, numbered unless it is the first."""
    if not applied:
        return ""
    return applied[-1] if len(applied) == 1 else f"{len(applied)}. {applied[-1]}"


async def _work(service: Service, render: Render, job: EncodeJob, fault: str) -> None:
    """Run a render to its end; the encoder works while the documented time passes."""
    encoding = asyncio.create_task(service.encoders.make(job)) if not fault else None
    pause = service.seconds("render") / _STEPS
    for step in range(1, _STEPS + 1):
        await asyncio.sleep(pause)
        if render.status in _UNFINISHED:
            render.status, render.progress = "processing", step * 100 // _STEPS - 1
    if fault == "render_failed":
        _end(render, "failed", reason="the renderer failed")
    if encoding is None:
        return
    try:
        path = await encoding
    except EncodeFailed as failure:
        _end(render, "failed", reason=str(failure))
        return
    # Each render has its own URL, though equal jobs share a file, so that downloads can be told apart.
    file = f"results/{secrets.token_hex(12)}.mp4"
    service.state.files[file] = path
    _end(render, "completed", file=file)


def _end(render: Render, status: str, *, reason: str | None = None, file: str | None = None) -> None:
    """End a render. It ends only once: a cancelled one stays cancelled."""
    if render.status not in _UNFINISHED:
        return
    render.status, render.reason, render.file = status, reason, file
    render.ended_at = time.monotonic()
    render.progress = 100 if status == "completed" else render.progress
    _free_session(render)


def _free_session(render: Render) -> None:
    if render.session.exporting == render.id:
        render.session.exporting = None


def _answer(render: Render, base: str) -> Response:
    url = f"{base}cdn/{render.file}" if render.status == "completed" else None
    error = {"error": render.reason} if render.reason else {}
    if "plain" in render.form:
        plain = {"status": render.status, **({"output": {"url": url}} if url else {}), **error}
        return Json(plain if render.form == "plain" else wrap(plain))
    data = {"id": render.id, "status": render.status, "progress": render.progress}
    data |= ({"outputUrl": url} if url else {}) | error
    return Json({"success": True, "data": data} if render.form == "data" else wrap(data))


async def cdn_file(call: Call) -> Response:
    """Serve a file of the CDN; no token is needed, and none should be sent."""
    name = call.record.about = call.param("name")
    return _serve(call, name, call.service.state.files.get(name))


async def download(call: Call) -> Response:
    """Serve a render's finished file, for clients that can't reach its CDN URL."""
    render = _find(call)
    if render.file is None:
        raise Refusal(Code.NOT_FOUND, "the render has no file yet")
    return _serve(call, render.file, call.service.state.files[render.file])


def _serve(call: Call, name: str, path: Path | None) -> Response:
    if path is None:
        raise Refusal(Code.NOT_FOUND, "no such file")
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    fault = next((fault for fault in _DOWNLOAD_FAULTS if call.strikes(fault)), None)
    if fault is None:
        return FileResponse(path, media_type=media_type)
    response = FileResponse(path, stat_result=path.stat())
    return _FaultyFile(path.read_bytes(), call.request.headers.get("range", ""), fault, response.headers["etag"])


class _FaultyFile(Response):
    """A file that arrives cut, short or corrupted, or whole when a range was requested."""

    media_type = "video/mp4"

    def __init__(self, contents: bytes, range_header: str, fault: str, etag: str) -> None:
        contents = _damaged(contents, fault)
        match = _RANGE.match(range_header) if fault != "download_no_ranges" else None
        first = int(match[1]) if match else 0
        last = min(int(match[2]), len(contents) - 1) if match and match[2] else len(contents) - 1
        status = 200 if not match else 206 if first <= last else 416
        super().__init__(contents[first : last + 1], status, {"etag": etag})
        self._cut = fault == "download_cut"
        if match:
            self.headers["content-range"] = f"bytes {f'{first}-{last}' if first <= last else '*'}/{len(contents)}"
        if fault != "download_no_ranges":
            self.headers["accept-ranges"] = "bytes"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._cut:
            await super().__call__(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        half = bytes(self.body)[: max(1, len(self.body) // 2)]
        await send({"type": "http.response.body", "body": half, "more_body": True})
        await hang_up(scope)


def _damaged(contents: bytes, fault: str) -> bytes:
    if fault == "download_short":
        return contents[: len(contents) * 2 // 3]
    if fault == "download_corrupted":
        return bytes(byte ^ 0x5A for byte in contents)
    return contents
