"""The agent's event stream: the two formats of its events, keep-alives in between, a connection that may break off."""

import asyncio
import itertools
import json
import time
import uuid
from collections.abc import Iterator
from enum import Enum
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sandbox.responses import hang_up

_KEEP_ALIVES: Final = (b": ping\n\n", b"data:\n\n", b"event: heartbeat\ndata: {}\n\n", b"event: heartbeat\n\n")
GARBAGE: Final = b'data: {"content": {"role": "model", "parts": [{"te\n\n'


class AdkDialect:
    """The events of an ADK API server."""

    def __init__(self) -> None:
        self._invocation = f"e-{uuid.uuid4()}"
        self._call = ""

    def text(self, content: str) -> list[bytes]:
        """The text in pieces, each marked as partial, and then again as a whole."""
        size = max(1, len(content) // 3 + 1)
        pieces = [content[start : start + size] for start in range(0, len(content), size)]
        partials = [self._event([{"text": piece}], partial=True) for piece in pieces]
        return [*partials, self._event([{"text": content}])]

    def tool_call(self, name: str, args: dict[str, Any]) -> bytes:
        self._call = f"call_{uuid.uuid4().hex[:8]}"
        return self._event([{"functionCall": {"id": self._call, "name": name, "args": args}}])

    def tool_result(self, name: str, draft: dict[str, Any]) -> bytes:
        response = {"id": self._call, "name": name, "response": {"status": "success"}}
        return self._event([{"functionResponse": response}], role="user", actions={"stateDelta": {"draft": draft}})

    def keep_alives(self) -> Iterator[bytes]:
        return itertools.cycle(_KEEP_ALIVES)

    def _event(self, parts: list[dict[str, Any]], *, role: str = "model", **more: object) -> bytes:
        return _data(
            {
                "content": {"role": role, "parts": parts},
                "author": "nemo_agent",
                "id": str(uuid.uuid4()),
                "invocationId": self._invocation,
                "timestamp": time.time(),
                **more,
            }
        )


class FlatDialect:
    """One flat object for each event."""

    def text(self, content: str) -> list[bytes]:
        return [_data({"type": "text", "content": content})]

    def tool_call(self, name: str, args: dict[str, Any]) -> bytes:
        return _data({"type": "tool_call", "name": name, "args": args})

    def tool_result(self, name: str, draft: dict[str, Any]) -> bytes:
        return _data({"type": "tool_result", "name": name, "result": {"status": "success", "draft": draft}})

    def keep_alives(self) -> Iterator[bytes]:
        return itertools.cycle((_data({"type": "heartbeat"}), *_KEEP_ALIVES))


Dialect = AdkDialect | FlatDialect


def _data(event: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def agent_errors() -> dict[str, bytes]:
    """The agent's own failure in each format, by the fault that causes it."""
    event = {"author": "nemo_agent", "id": str(uuid.uuid4()), "timestamp": time.time()}
    details = {"type": "RuntimeError", "message": "the tool gave up"}
    return {
        "agent_error": _data({"error": "RuntimeError: the tool gave up", "error_details": details}),
        "agent_error_code": _data({**event, "errorCode": "MALFORMED_FUNCTION_CALL"}),
        "agent_error_message": _data({**event, "errorCode": "INTERNAL", "errorMessage": "the tool gave up"}),
    }


class Mark(Enum):
    """What the queue can hold besides events."""

    END = "the stream closes"
    CUT = "the connection breaks off here"


Events = asyncio.Queue[bytes | Mark]


class EventStream(Response):
    """Sends server-sent events from a queue. The work that fills the queue does not depend on the connection."""

    media_type = "text/event-stream"

    def __init__(self, events: Events, dialect: Dialect, *, interval: float, slow: float, silent: float) -> None:
        super().__init__()
        del self.headers["content-length"]
        self.headers["cache-control"] = "no-cache"
        self._events = events
        self._keep_alives = dialect.keep_alives()
        self._interval = interval
        self._slow = slow
        self._silent = silent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        if self._silent:
            await self._send_keep_alives(send)
        elif await self._send_events(send) is Mark.CUT:
            await hang_up(scope)
            return
        await send({"type": "http.response.body", "body": b""})

    async def _send_events(self, send: Send) -> Mark:
        while True:
            try:
                event = await asyncio.wait_for(self._events.get(), self._interval)
            except TimeoutError:
                event = next(self._keep_alives)
            if isinstance(event, Mark):
                return event
            await asyncio.sleep(self._slow)
            await send({"type": "http.response.body", "body": event, "more_body": True})

    async def _send_keep_alives(self, send: Send) -> None:
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._silent
        while (remaining := deadline - clock()) > 0:
            await send({"type": "http.response.body", "body": next(self._keep_alives), "more_body": True})
            await asyncio.sleep(min(self._interval, remaining))
