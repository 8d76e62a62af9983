"""Tokens, credits and sessions: the free starter token, the balance, a session's opening, state and claim token."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Final

from starlette.responses import Response

from sandbox.middleware import Call
from sandbox.responses import Code, Refusal, success
from sandbox.state import TOKEN_LIFE

_CLAIM_LIFE: Final = 604_800


async def anonymous_token(call: Call) -> Response:
    """Issue one free token per client in seven days; once it has expired, the client can ask again."""
    client_id = call.request.headers.get("x-client-id", "").strip()
    if not client_id:
        raise Refusal(Code.CLIENT_ID_MISSING, "X-Client-Id is missing")
    await call.service.wait("token")
    try:
        _check_quota(call, client_id)
    except Refusal:
        call.service.ledger.token_request(client_id, "refused")
        raise
    token = call.service.state.issue_token(client_id, call.service.settings.credits)
    call.service.ledger.token_request(client_id, "issued")
    return success(
        {
            "token": token.value,
            "user_id": token.account.user_id,
            "credits": token.account.available,
            "expires_at": (datetime.now(UTC) + timedelta(seconds=TOKEN_LIFE)).isoformat(),
        }
    )


def _check_quota(call: Call, client_id: str) -> None:
    state = call.service.state
    earlier = state.clients.get(client_id)
    if earlier and not earlier.is_dead(call.service.faults.seconds("tokens_expire")):
        raise Refusal(Code.RATE_LIMITED, "one token per client per 7 days")
    address = call.request.client.host if call.request.client else ""
    clients = state.addresses.setdefault(address, set())
    if client_id not in clients and len(clients) >= call.service.settings.clients_per_address:
        raise Refusal(Code.RATE_LIMITED, "too many clients at this address within 7 days")
    clients.add(client_id)


async def balance(call: Call) -> Response:
    return success(call.account.shown())


async def open_session(call: Call) -> Response:
    body = await call.json()
    language = body.get("language", "en")
    if not isinstance(language, str) or not language:
        raise Refusal(Code.UNPROCESSABLE, "language is not an ISO code")
    await call.service.wait("session")
    session = call.service.state.open_session(call.account, str(body.get("task_name", "project")), language)
    call.service.ledger.session(session.id, call.account.user_id, language)
    call.record.about = session.id
    return success({"task_id": session.task_id, "session_id": session.id, "user_id": call.account.user_id})


async def latest_state(call: Call) -> Response:
    session = call.session(call.param("session_id"))
    videos = [media for media in session.media if media.kind == "video"]
    first = videos[0].facts if videos else None
    canvas = {"width": first.width, "height": first.height, "fps": first.fps} if first else {}
    state = {
        "draft": session.draft.as_json(),
        "video_infos": [media.shown(str(call.request.base_url)) for media in videos],
        "generated_media": session.generated,
        "canvas_config": canvas,
        "video_analyses": [],
    }
    ids = {"session_id": session.id, "task_id": session.task_id, "user_id": call.account.user_id}
    return success({**ids, "state": state})


async def claim_token(call: Call) -> Response:
    body = await call.json()
    session = call.session(body.get("session_id"))
    if body.get("task_id") != session.task_id:
        raise Refusal(Code.UNPROCESSABLE, "task_id and session_id do not belong together")
    return success({"claim_token": f"clm_{secrets.token_urlsafe(16)}", "expires_in": _CLAIM_LIFE})
