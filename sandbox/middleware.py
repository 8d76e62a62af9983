"""What every request passes through: recording, faults and authentication."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response

from sandbox.envelope import Code, Json, Refusal
from sandbox.kinds import Canned, Endpoint
from sandbox.state import ANONYMOUS, Account, Session
from sandbox.wire import DroppedConnection

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from sandbox.ledger import Request as Note
    from sandbox.service import Service
_WITHOUT_TOKEN: Final = frozenset({Endpoint.TOKEN, Endpoint.CDN})


@dataclass(frozen=True, slots=True)
class AuthenticatedCall:
    """An authenticated request, with its endpoint and its account."""

    service: "Service"
    request: Request
    endpoint: Endpoint
    account: Account
    note: "Note"

    def strikes(self, fault: str) -> bool:
        return self.service.faults.strikes(fault, self.endpoint) is not None

    def param(self, name: str) -> str:
        return str(self.request.path_params[name])

    async def json(self) -> dict[str, Any]:
        """The body; refused if it is not a JSON object."""
        try:
            body = await self.request.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise Refusal(Code.UNPROCESSABLE, "the body is not a JSON object")
        return body

    def session(self, session_id: object) -> Session:
        """The session with this id; refused if it does not exist or belongs to another account."""
        self.note.about = str(session_id)
        session = self.service.world.sessions.get(str(session_id))
        if session is None or session.account is not self.account:
            raise Refusal(Code.SESSION_NOT_FOUND, "session not found")
        for fault in ("session_lost", "session_lost_404"):
            if self.strikes(fault):
                del self.service.world.sessions[session.id]
                raise Refusal(Code.SESSION_NOT_FOUND, "session not found", bare=fault == "session_lost_404")
        return session


Handler = Callable[[AuthenticatedCall], Awaitable[Response]]


class Timed:
    """Records when a response ends: a stream ends long after it began."""

    def __init__(self, answer: Response, note: "Note") -> None:
        self._answer = answer
        self._note = note

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        try:
            await self._answer(scope, receive, send)
        finally:
            self._note.ended_at = time.monotonic()


def door(endpoint: Endpoint, handler: Handler) -> Callable[[Request], Awaitable["ASGIApp"]]:
    """Wrap a handler for use in a route: recording, faults and authentication come first."""

    async def handle(request: Request) -> "ASGIApp":
        service: Service = request.app.state.service
        template = request.scope["route"].path
        note = service.ledger.request(endpoint, request.method, template, request.headers)
        try:
            answer = await _respond(service, request, endpoint, handler, note)
        except Refusal as refusal:
            service.ledger.refusal(refusal.code)
            answer = refusal.answer()
        except ClientDisconnect:
            answer = DroppedConnection()
        return Timed(answer, note)

    return handle


async def _respond(
    service: "Service", request: Request, endpoint: Endpoint, handler: Handler, note: "Note"
) -> Response:
    if slow := service.faults.strikes("slow_answer", endpoint):
        await asyncio.sleep(slow.seconds)
    if service.faults.strikes("connection_dropped", endpoint):
        return DroppedConnection()
    if canned := service.faults.canned_answer(endpoint):
        service.ledger.refusal(_code_of(canned))
        return _canned_response(canned)
    answer = await handler(AuthenticatedCall(service, request, endpoint, _account(service, request, endpoint), note))
    return DroppedConnection() if service.faults.strikes("answer_dropped", endpoint) else answer


def _account(service: "Service", request: Request, endpoint: Endpoint) -> Account:
    if endpoint in _WITHOUT_TOKEN:
        return ANONYMOUS
    authorization = request.headers.get("authorization", "")
    return service.world.account_of(authorization, service.faults.seconds("tokens_expire"))


def _code_of(canned: Canned) -> int:
    return canned.body.get("code", canned.status) if isinstance(canned.body, dict) else canned.status


def _canned_response(canned: Canned) -> Response:
    if canned.body is None:
        return Response(status_code=canned.status)
    if isinstance(canned.body, str):
        return HTMLResponse(canned.body, status_code=canned.status)
    return Json(canned.body, status_code=canned.status)
