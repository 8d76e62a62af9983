"""Exports: submitting, polling and cancelling them, and the forms in which their status is sent."""

import asyncio
import secrets
from typing import TYPE_CHECKING, Any, Final

from sandbox.draft import TrackType
from sandbox.encoder import LONGEST_SECONDS, STILL_SECONDS, EncodeFailed, EncodeJob
from sandbox.envelope import Code, Json, Refusal, success, wrap
from sandbox.ledger import ATTRIBUTION
from sandbox.state import Render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response

    from sandbox.middleware import AuthenticatedCall as Visit
    from sandbox.service import Service
    from sandbox.state import Session

_STEPS: Final = 10
"""How many times the progress advances; a render is pending during the first step."""
_UNREACHABLE: Final = "http://127.0.0.1:1/"
"""Nothing listens on port 1."""


async def submit(visit: "Visit") -> "Response":
    if not all(visit.request.headers.get(name) for name in ATTRIBUTION):
        raise Refusal(Code.PLAN_REQUIRED, "export blocked: attribution headers are missing")
    body = await visit.json()
    session = visit.session(body.get("sessionId"))
    render_id = body.get("id")
    _check(visit, session, render_id, body.get("draft"))
    note = visit.service.ledger.export(str(render_id), session.id, visit.request.headers)
    render = Render(str(render_id), visit.account, session, next(visit.service.render_forms), note)
    visit.service.world.renders[render.id] = render
    session.exporting = render.id
    visit.service.set_to_work(
        _work(visit.service, render, _order(visit.service, session, body["draft"]), _fault(visit))
    )
    if visit.strikes("render_duplicate"):
        raise _duplicate(render.id)
    return _answer(render, str(visit.request.base_url))


async def look(visit: "Visit") -> "Response":
    render = find(visit)
    if visit.strikes("render_forgotten"):
        del visit.service.world.renders[render.id]
        _free_session(render)
        raise Refusal(Code.NOT_FOUND, "no such render")
    render.note.look(render.status)
    unreachable = render.status == "completed" and visit.strikes("result_unreachable")
    return _answer(render, _UNREACHABLE if unreachable else str(visit.request.base_url))


async def cancel(visit: "Visit") -> "Response":
    render = find(visit)
    if render.status in {"pending", "processing"}:
        _end(render, "failed", reason="cancelled")
    return success({"id": render.id, "status": render.status})


def find(visit: "Visit") -> Render:
    visit.note.about = visit.param("render_id")
    render = visit.service.world.renders.get(visit.note.about)
    if render is None or render.account is not visit.account:
        raise Refusal(Code.NOT_FOUND, "no such render")
    return render


def _check(visit: "Visit", session: "Session", render_id: object, draft: object) -> None:
    if not isinstance(render_id, str) or not render_id:
        raise Refusal(Code.UNPROCESSABLE, "id is missing")
    if render_id in visit.service.world.renders:
        raise _duplicate(render_id)
    if session.exporting:
        raise Refusal(Code.CONFLICT, "another export of this session is still running")
    if not _segments(draft):
        raise Refusal(Code.UNPROCESSABLE, "nothing to render: the draft has no segments")
    if visit.strikes("render_refused"):
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


def _order(service: "Service", session: "Session", draft: object) -> EncodeJob:
    """What to encode: the session's first clip, else its first photo, for as long as the draft's video lasts."""
    first_by_kind = {media.kind: media for media in reversed(session.media)}
    source = first_by_kind.get("video") or first_by_kind.get("image")
    lengths = [segment.get("d") for kind, segment in _segments(draft) if kind == TrackType.VIDEO]
    requested = sum(length for length in lengths if isinstance(length, int | float)) / 1000 or STILL_SECONDS
    maximum = LONGEST_SECONDS if source and source.kind == "video" else STILL_SECONDS
    return EncodeJob(source, caption([*service.ledger.applied_texts(session.id)]), min(requested, maximum))


def caption(applied: "Sequence[str]") -> str:
    """The text that a result shows instead of an edit: the newest instruction, numbered unless it is the first."""
    if not applied:
        return ""
    return applied[-1] if len(applied) == 1 else f"{len(applied)}. {applied[-1]}"


def _fault(visit: "Visit") -> str:
    return next((fault for fault in ("render_failed", "render_stuck") if visit.strikes(fault)), "")


async def _work(service: "Service", render: Render, order: EncodeJob, fault: str) -> None:
    """Run a render to its end; the encoder works while the documented time passes."""
    encoding = asyncio.create_task(service.studio.make(order)) if not fault else None
    pause = service.seconds("render") / _STEPS
    for step in range(1, _STEPS + 1):
        await asyncio.sleep(pause)
        _advance(render, step * 100 // _STEPS - 1)
    if fault == "render_failed":
        _end(render, "failed", reason="the renderer failed")
    if encoding is None:
        return
    try:
        path = await encoding
    except EncodeFailed as failure:
        _end(render, "failed", reason=str(failure))
        return
    # Each render has its own URL, though equal orders share a file, so that downloads can be told apart.
    file = f"results/{secrets.token_hex(12)}.mp4"
    service.world.files[file] = path
    _end(render, "completed", file=file)


def _advance(render: Render, progress: int) -> None:
    if render.status in {"pending", "processing"}:
        render.status = render.note.status = "processing"
        render.progress = progress


def _end(render: Render, status: str, *, reason: str | None = None, file: str | None = None) -> None:
    """End a render. It ends only once: a cancelled one stays cancelled."""
    if render.status in {"completed", "failed"}:
        return
    render.status = status
    render.reason, render.file = reason, file
    render.note.close(status, file)
    render.progress = 100 if status == "completed" else render.progress
    _free_session(render)


def _free_session(render: Render) -> None:
    if render.session.exporting == render.id:
        render.session.exporting = None


def _answer(render: Render, base: str) -> "Response":
    url = f"{base}cdn/{render.file}" if render.status == "completed" else None
    if render.form == "plain":
        return Json(_plain(render, url))
    if render.form == "data":
        return Json({"success": True, "data": _data(render, url)})
    return Json(wrap(_plain(render, url) if render.form == "enveloped plain" else _data(render, url)))


def _plain(render: Render, url: str | None) -> dict[str, object]:
    answer: dict[str, object] = {"status": render.status}
    if url:
        answer["output"] = {"url": url}
    return answer | ({"error": render.reason} if render.reason else {})


def _data(render: Render, url: str | None) -> dict[str, object]:
    answer: dict[str, object] = {"id": render.id, "status": render.status, "progress": render.progress}
    if url:
        answer["outputUrl"] = url
    return answer | ({"error": render.reason} if render.reason else {})
