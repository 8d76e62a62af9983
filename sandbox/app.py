"""All routes of the sandbox, and its control endpoints: faults, credits, the ledger and a reset. They need no token."""

from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox import agent_runs, renders, sessions, uploads
from sandbox.faults import Endpoint, UnknownFault
from sandbox.middleware import wrapped
from sandbox.responses import Json
from sandbox.service import Service

GET, POST, DELETE = ["GET"], ["POST"], ["DELETE"]


def make_app(service: Service) -> Starlette:
    app = Starlette(routes=ROUTES)
    app.state.service = service
    return app


async def show_faults(request: Request) -> Response:
    return Json(_service(request).faults.shown())


async def change_faults(request: Request) -> Response:
    """Merge a JSON object of faults into those in force; null removes a fault."""
    body = await _body(request)
    if body is None:
        return _not_an_object('{"server_error": 0.05}')
    try:
        _service(request).faults.change(body)
    except UnknownFault as error:
        return _unprocessable(str(error))
    return await show_faults(request)


async def reset_faults(request: Request) -> Response:
    """Restore the faults that the process was started with."""
    _service(request).faults.reset()
    return await show_faults(request)


async def top_up(request: Request) -> Response:
    """Add credits, as in `{"credits": 500}`, to all accounts, or to the one with `user_id`."""
    body, accounts = await _body(request), _service(request).state.accounts
    if body is None:
        return _not_an_object('{"credits": 500}')
    credits_, user_id = body.get("credits"), body.get("user_id")
    if not isinstance(credits_, int) or credits_ < 1:
        return _unprocessable("credits must be a whole number above 0")
    if user_id is not None and user_id not in accounts:
        return _unprocessable("no account has that user_id")
    for account in accounts.values() if user_id is None else [accounts[user_id]]:
        account.available += credits_
    return Json({"accounts": {name: account.shown() for name, account in accounts.items()}})


async def ledger(request: Request) -> Response:
    service = _service(request)
    accounts = {name: account.shown() for name, account in service.state.accounts.items()}
    return Json({**service.ledger.shown(), "accounts": accounts, "faults_struck": dict(service.faults.struck)})


async def requests(request: Request) -> Response:
    return Json({"requests": _service(request).ledger.requests()})


async def reset(request: Request) -> Response:
    """Forget everything: accounts, sessions, exports, the ledger, and faults that were set later."""
    _service(request).reset()
    return Json({"reset": True})


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def _body(request: Request) -> dict[str, Any] | None:
    """The JSON object that was sent; None if it is not one."""
    try:
        body = await request.json()
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _not_an_object(example: str) -> Response:
    return Json({"error": f"the body is not a JSON object; send one such as {example}"}, status_code=400)


def _unprocessable(message: str) -> Response:
    return Json({"error": message}, status_code=422)


ROUTES = [
    Route("/api/auth/anonymous-token", wrapped(Endpoint.TOKEN, sessions.anonymous_token), methods=POST),
    Route("/api/auth/claim-token", wrapped(Endpoint.CLAIM, sessions.claim_token), methods=POST),
    Route("/api/tasks/me/with-session/nemo_agent", wrapped(Endpoint.SESSION, sessions.open_session), methods=POST),
    Route("/api/upload-video/nemo_agent/me/{session_id}", wrapped(Endpoint.UPLOAD, uploads.upload), methods=POST),
    Route("/run_sse", wrapped(Endpoint.EDIT, agent_runs.run), methods=POST),
    Route("/api/state/nemo_agent/me/{session_id}/latest", wrapped(Endpoint.STATE, sessions.latest_state), methods=GET),
    Route("/api/credits/balance/simple", wrapped(Endpoint.BALANCE, sessions.balance), methods=GET),
    Route("/api/render/proxy/lambda", wrapped(Endpoint.RENDER, renders.submit), methods=POST),
    Route("/api/render/proxy/lambda/{render_id}", wrapped(Endpoint.POLL, renders.poll), methods=GET),
    Route("/api/render/proxy/lambda/{render_id}/cancel", wrapped(Endpoint.CANCEL, renders.cancel), methods=POST),
    Route("/api/render/proxy/{render_id}/download", wrapped(Endpoint.DOWNLOAD, renders.download), methods=GET),
    Route("/cdn/{name:path}", wrapped(Endpoint.CDN, renders.cdn_file), methods=GET),
    Route("/sandbox/faults", show_faults, methods=GET),
    Route("/sandbox/faults", change_faults, methods=POST),
    Route("/sandbox/faults", reset_faults, methods=DELETE),
    Route("/sandbox/credits", top_up, methods=POST),
    Route("/sandbox/ledger", ledger, methods=GET),
    Route("/sandbox/requests", requests, methods=GET),
    Route("/sandbox/reset", reset, methods=POST),
]
