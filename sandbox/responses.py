"""The responses: JSON in the service's envelope, refusals by its codes, and a connection that closes without one."""

import asyncio
import json
from enum import IntEnum
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send


class Code(IntEnum):
    """The codes of the contract's table, and a few more that the sandbox needs."""

    SUCCESS = 0
    CLIENT_ID_MISSING = 400
    PLAN_REQUIRED = 402
    NOT_FOUND = 404
    CONFLICT = 409
    UNPROCESSABLE = 422
    RATE_LIMITED = 429
    TOKEN_REFUSED = 1001
    SESSION_NOT_FOUND = 1002
    OUT_OF_CREDITS = 2001
    TYPE_NOT_ACCEPTED = 4001
    FILE_TOO_LARGE = 4002


_STATUSES: Final = {
    Code.TOKEN_REFUSED: 401,
    Code.SESSION_NOT_FOUND: 404,
    # Not 402: that status is about the plan, and a client that reads only statuses would mix them up.
    Code.OUT_OF_CREDITS: 200,
    Code.TYPE_NOT_ACCEPTED: 415,
    Code.FILE_TOO_LARGE: 413,
}
"""The HTTP status of a code; any other code is itself a status."""


class Json(Response):
    """JSON with its characters unescaped, so that a traffic log is readable."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def wrap(data: object, *, code: int = Code.SUCCESS, message: str = "success") -> dict[str, object]:
    """Put data into the envelope."""
    return {"code": int(code), "message": message, "data": data}


def success(data: object) -> Response:
    return Json(wrap(data))


class Refusal(Exception):
    """A response other than success; raised by any handler, and sent by the middleware."""

    def __init__(self, code: Code, message: str, *, bare: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.bare = bare
        """Send only the HTTP status, without a body."""

    def response(self) -> Response:
        status = _STATUSES.get(self.code, int(self.code))
        if self.bare:
            return Response(status_code=status)
        return Json(wrap(None, code=self.code, message=self.message), status_code=status)


class DroppedConnection(Response):
    """No response: the connection closes."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await hang_up(scope)


async def hang_up(scope: Scope) -> None:
    """Close the connection of this request, which no ASGI message can do. What is already written is still sent."""
    scope["state"]["transport"].close()
    # Let the loop run once, so that the server sees the close before the endpoint returns.
    await asyncio.sleep(0)
