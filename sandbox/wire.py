"""Closes a connection on purpose, which no ASGI message can do."""

import asyncio
import socket
from typing import TYPE_CHECKING, ClassVar

from starlette.responses import Response
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send


class HangUpProtocol(H11Protocol):
    """uvicorn's protocol, which also keeps its transports by client address."""

    open: ClassVar[dict[tuple[str, int], asyncio.Transport]] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # The event loop does this only for sockets that were opened with an explicit protocol number. Without it, each
        # response waits 40 ms for an acknowledgement.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.client:
            self.open[self.client] = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self.client:
            self.open.pop(self.client, None)
        super().connection_lost(exc)


async def hang_up(scope: "Scope") -> None:
    """Close the connection of this request; what is already written is still sent."""
    transport = HangUpProtocol.open.get(tuple(scope["client"]))
    if transport:
        transport.close()
    # Let the loop run once, so that the server sees the close before the endpoint returns.
    await asyncio.sleep(0)


class DroppedConnection(Response):
    """No response: the connection closes."""

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        await hang_up(scope)
