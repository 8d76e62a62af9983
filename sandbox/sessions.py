"""Sessions: opening one, reading its state, and issuing a token that opens it in a browser."""

import secrets
from typing import TYPE_CHECKING, Final

from sandbox.envelope import Code, Refusal, success

if TYPE_CHECKING:
    from starlette.responses import Response

    from sandbox.middleware import AuthenticatedCall as Visit
    from sandbox.state import Media

_CLAIM_LIFE: Final = 604_800


async def open_session(visit: "Visit") -> "Response":
    body = await visit.json()
    language = body.get("language", "en")
    if not isinstance(language, str) or not language:
        raise Refusal(Code.UNPROCESSABLE, "language is not an ISO code")
    await visit.service.wait("session")
    name = str(body.get("task_name", "project"))
    session = visit.service.world.open_session(visit.account, name, language)
    visit.service.ledger.session(session.id, visit.account.user_id, language)
    visit.note.about = session.id
    return success({"task_id": session.task_id, "session_id": session.id, "user_id": visit.account.user_id})


async def latest_state(visit: "Visit") -> "Response":
    session = visit.session(visit.param("session_id"))
    videos = [media for media in session.media if media.kind == "video"]
    first = videos[0] if videos else None
    canvas = {"width": first.width, "height": first.height, "fps": first.fps} if first else {}
    state = {
        "draft": session.draft.as_json(),
        "video_infos": [file_info(media, str(visit.request.base_url)) for media in videos],
        "generated_media": session.generated,
        "canvas_config": canvas,
        "video_analyses": [],
    }
    return success(
        {
            "session_id": session.id,
            "task_id": session.task_id,
            "user_id": visit.account.user_id,
            "state": state,
        }
    )


async def claim_token(visit: "Visit") -> "Response":
    body = await visit.json()
    session = visit.session(body.get("session_id"))
    if body.get("task_id") != session.task_id:
        raise Refusal(Code.UNPROCESSABLE, "task_id and session_id do not belong together")
    return success({"claim_token": f"clm_{secrets.token_urlsafe(16)}", "expires_in": _CLAIM_LIFE})


def file_info(media: "Media", base: str) -> dict[str, object]:
    """An uploaded file as the service describes it."""
    return {
        "filename": media.filename,
        "file_type": media.kind,
        "cdn_url": f"{base}cdn/{media.cdn}",
        "duration": media.duration,
        "width": media.width,
        "height": media.height,
        "fps": media.fps,
        "hash": media.sha256,
    }
