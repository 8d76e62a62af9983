"""The door that every request passes: it is noted, meets the faults in force, and shows its token."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response

from sandbox.envelope import Code, Json, Refusal
from sandbox.kinds import Canned, Endpoint
from sandbox.wire import Silence
from sandbox.world import NOBODY, Account, Session

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from sandbox.ledger import Request as Note
    from sandbox.service import Service

_WITHOUT_TOKEN: Final = frozenset({Endpoint.TOKEN, Endpoint.CDN})


@dataclass(frozen=True, slots=True)
class Visit:
    """One request that was let in: what it is for, and whose it is."""

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
        """The body, which has to be a JSON object."""
        try:
            body = await self.request.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise Refusal(Code.UNPROCESSABLE, "the body is not a JSON object")
        return body

    def session(self, session_id: object) -> Session:
        """The session of this id, where it is there and belongs to the one who asks."""
        self.note.about = str(session_id)
        session = self.service.world.sessions.get(str(session_id))
        if session is None or session.account is not self.account:
            raise Refusal(Code.SESSION_NOT_FOUND, "session not found")
        for fault in ("session_lost", "session_lost_404"):
            if self.strikes(fault):
                del self.service.world.sessions[session.id]
                raise Refusal(Code.SESSION_NOT_FOUND, "session not found", bare=fault == "session_lost_404")
        return session


Handler = Callable[[Visit], Awaitable[Response]]


class Timed:
    """An answer whose end is noted: a stream's is long after its beginning."""

    def __init__(self, answer: Response, note: "Note") -> None:
        self._answer = answer
        self._note = note

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        try:
            await self._answer(scope, receive, send)
        finally:
            self._note.ended_at = time.monotonic()


def door(endpoint: Endpoint, handler: Handler) -> Callable[[Request], Awaitable["ASGIApp"]]:
    """The handler behind its door, as a route takes it."""

    async def enter(request: Request) -> "ASGIApp":
        service: Service = request.app.state.service
        template = request.scope["route"].path
        note = service.ledger.request(endpoint, request.method, template, request.headers)
        try:
            answer = await _meet(service, request, endpoint, handler, note)
        except Refusal as refusal:
            service.ledger.refusal(refusal.code)
            answer = refusal.answer()
        except ClientDisconnect:
            answer = Silence()
        return Timed(answer, note)

    return enter


async def _meet(service: "Service", request: Request, endpoint: Endpoint, handler: Handler, note: "Note") -> Response:
    if slow := service.faults.strikes("slow_answer", endpoint):
        await asyncio.sleep(slow.seconds)
    if service.faults.strikes("connection_dropped", endpoint):
        return Silence()
    if canned := service.faults.canned_answer(endpoint):
        service.ledger.refusal(_code_of(canned))
        return _serve(canned)
    answer = await handler(Visit(service, request, endpoint, _account(service, request, endpoint), note))
    return Silence() if service.faults.strikes("answer_dropped", endpoint) else answer


def _account(service: "Service", request: Request, endpoint: Endpoint) -> Account:
    if endpoint in _WITHOUT_TOKEN:
        return NOBODY
    authorization = request.headers.get("authorization", "")
    return service.world.account_of(authorization, service.faults.seconds("tokens_expire"))


def _code_of(canned: Canned) -> int:
    return canned.body.get("code", canned.status) if isinstance(canned.body, dict) else canned.status


def _serve(canned: Canned) -> Response:
    if canned.body is None:
        return Response(status_code=canned.status)
    if isinstance(canned.body, str):
        return HTMLResponse(canned.body, status_code=canned.status)
    return Json(canned.body, status_code=canned.status)
