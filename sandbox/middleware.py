"""What every request passes through: recording, faults and authentication."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from sandbox.faults import WITH_TOKEN, Canned, Endpoint
from sandbox.ledger import RequestRecord
from sandbox.responses import Code, DroppedConnection, Json, Refusal
from sandbox.service import Service
from sandbox.state import ANONYMOUS, Account, Session


@dataclass(frozen=True, slots=True)
class Call:
    """An authenticated request, with its endpoint and its account."""

    service: Service
    request: Request
    endpoint: Endpoint
    account: Account
    record: RequestRecord

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
        self.record.about = str(session_id)
        session = self.service.state.sessions.get(str(session_id))
        if session is None or session.account is not self.account:
            raise Refusal(Code.SESSION_NOT_FOUND, "session not found")
        for fault in ("session_lost", "session_lost_404"):
            if self.strikes(fault):
                del self.service.state.sessions[session.id]
                raise Refusal(Code.SESSION_NOT_FOUND, "session not found", bare=fault == "session_lost_404")
        return session


Handler = Callable[[Call], Awaitable[Response]]


def wrapped(endpoint: Endpoint, handler: Handler) -> Callable[[Request], Awaitable[ASGIApp]]:
    """Wrap a handler for use in a route: recording, faults and authentication come first."""

    async def handle(request: Request) -> ASGIApp:
        service: Service = request.app.state.service
        template = request.scope["route"].path
        record = service.ledger.request(endpoint, request.method, template, request.headers)
        try:
            response = await _respond(service, request, endpoint, handler, record)
        except Refusal as refusal:
            service.ledger.refusal(refusal.code)
            response = refusal.response()
        except ClientDisconnect:
            response = DroppedConnection()

        async def send_and_record(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await response(scope, receive, send)
            finally:
                record.ended_at = time.monotonic()  # a stream ends long after it began

        return send_and_record

    return handle


async def _respond(
    service: Service, request: Request, endpoint: Endpoint, handler: Handler, record: RequestRecord
) -> Response:
    if slow := service.faults.strikes("slow_answer", endpoint):
        await asyncio.sleep(slow.seconds)
    if service.faults.strikes("connection_dropped", endpoint):
        return DroppedConnection()
    if canned := service.faults.canned_response(endpoint):
        code = canned.body.get("code", canned.status) if isinstance(canned.body, dict) else canned.status
        service.ledger.refusal(code)
        return _canned_response(canned)
    account = ANONYMOUS
    if endpoint in WITH_TOKEN:
        authorization = request.headers.get("authorization", "")
        account = service.state.account_of(authorization, service.faults.seconds("tokens_expire"))
    response = await handler(Call(service, request, endpoint, account, record))
    return DroppedConnection() if service.faults.strikes("answer_dropped", endpoint) else response


def _canned_response(canned: Canned) -> Response:
    if canned.body is None:
        return Response(status_code=canned.status)
    if isinstance(canned.body, str):
        return HTMLResponse(canned.body, status_code=canned.status)
    return Json(canned.body, status_code=canned.status)
