"""The two formats of the agent's events in a stream, and the keep-alives between them."""

import itertools
import json
import time
import uuid
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

_KEEP_ALIVES: Final = (b": ping\n\n", b"data:\n\n", b"event: heartbeat\ndata: {}\n\n", b"event: heartbeat\n\n")
GARBAGE: Final = b'data: {"content": {"role": "model", "parts": [{"te\n\n'


class Dialect(Protocol):
    """One format of the agent's events."""

    def text(self, content: str) -> list[bytes]: ...
    def tool_call(self, name: str, args: dict[str, Any]) -> bytes: ...
    def tool_result(self, name: str, draft: dict[str, Any]) -> bytes: ...
    def keep_alives(self) -> "Iterator[bytes]": ...


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

    def keep_alives(self) -> "Iterator[bytes]":
        return itertools.cycle(_KEEP_ALIVES)

    def _event(self, parts: list[dict[str, Any]], *, role: str = "model", **more: object) -> bytes:
        return data(
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
        return [data({"type": "text", "content": content})]

    def tool_call(self, name: str, args: dict[str, Any]) -> bytes:
        return data({"type": "tool_call", "name": name, "args": args})

    def tool_result(self, name: str, draft: dict[str, Any]) -> bytes:
        return data({"type": "tool_result", "name": name, "result": {"status": "success", "draft": draft}})

    def keep_alives(self) -> "Iterator[bytes]":
        return itertools.cycle((data({"type": "heartbeat"}), *_KEEP_ALIVES))


def data(event: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def agent_errors() -> dict[str, bytes]:
    """The agent's own failure in each format, by the fault that causes it."""
    event = {"author": "nemo_agent", "id": str(uuid.uuid4()), "timestamp": time.time()}
    details = {"type": "RuntimeError", "message": "the tool gave up"}
    return {
        "agent_error": data({"error": "RuntimeError: the tool gave up", "error_details": details}),
        "agent_error_code": data({**event, "errorCode": "MALFORMED_FUNCTION_CALL"}),
        "agent_error_message": data({**event, "errorCode": "INTERNAL", "errorMessage": "the tool gave up"}),
    }
