"""The response to a message: its events, keep-alives in between, and a connection that may break off."""

import asyncio
from enum import Enum
from typing import TYPE_CHECKING

from starlette.responses import Response

from sandbox.wire import hang_up

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from sandbox.dialects import Dialect


class Mark(Enum):
    """What the queue can hold besides events."""

    END = "the stream closes"
    CUT = "the connection breaks off here"


Events = asyncio.Queue[bytes | Mark]


class EventStream(Response):
    """Sends server-sent events from a queue. The work that fills the queue does not depend on the connection."""

    media_type = "text/event-stream"

    def __init__(self, events: Events, dialect: "Dialect", *, interval: float, slow: float, silent: float) -> None:
        super().__init__()
        del self.headers["content-length"]
        self.headers["cache-control"] = "no-cache"
        self._events = events
        self._keep_alives = dialect.keep_alives()
        self._interval = interval
        self._slow = slow
        self._silent = silent

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        if self._silent:
            await self._send_keep_alives(send)
        elif await self._send_events(send) is Mark.CUT:
            await hang_up(scope)
            return
        await send({"type": "http.response.body", "body": b""})

    async def _send_events(self, send: "Send") -> Mark:
        while True:
            try:
                event = await asyncio.wait_for(self._events.get(), self._interval)
            except TimeoutError:
                event = next(self._keep_alives)
            if isinstance(event, Mark):
                return event
            await asyncio.sleep(self._slow)
            await send({"type": "http.response.body", "body": event, "more_body": True})

    async def _send_keep_alives(self, send: "Send") -> None:
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._silent
        while (remaining := deadline - clock()) > 0:
            await send({"type": "http.response.body", "body": next(self._keep_alives), "more_body": True})
            await asyncio.sleep(min(self._interval, remaining))
