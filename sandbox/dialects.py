"""The two forms in which the agent's events go down a stream, and the ways in which a stream shows that it is alive."""

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
    """One way to say what the agent does."""

    def text(self, words: str) -> list[bytes]: ...
    def tool_call(self, name: str, args: dict[str, Any]) -> bytes: ...
    def tool_result(self, name: str, draft: dict[str, Any]) -> bytes: ...
    def keep_alives(self) -> "Iterator[bytes]": ...


class AdkDialect:
    """The events of an ADK API server."""

    def __init__(self) -> None:
        self._invocation = f"e-{uuid.uuid4()}"
        self._call = ""

    def text(self, words: str) -> list[bytes]:
        """The words in pieces, each marked as partial, and then once more as a whole."""
        size = max(1, len(words) // 3 + 1)
        pieces = [words[start : start + size] for start in range(0, len(words), size)]
        partials = [self._event([{"text": piece}], partial=True) for piece in pieces]
        return [*partials, self._event([{"text": words}])]

    def tool_call(self, name: str, args: dict[str, Any]) -> bytes:
        self._call = f"call_{uuid.uuid4().hex[:8]}"
        return self._event([{"functionCall": {"id": self._call, "name": name, "args": args}}])

    def tool_result(self, name: str, draft: dict[str, Any]) -> bytes:
        done = {"id": self._call, "name": name, "response": {"status": "success"}}
        return self._event([{"functionResponse": done}], role="user", actions={"stateDelta": {"draft": draft}})

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

    def text(self, words: str) -> list[bytes]:
        return [data({"type": "text", "content": words})]

    def tool_call(self, name: str, args: dict[str, Any]) -> bytes:
        return data({"type": "tool_call", "name": name, "args": args})

    def tool_result(self, name: str, draft: dict[str, Any]) -> bytes:
        return data({"type": "tool_result", "name": name, "result": {"status": "success", "draft": draft}})

    def keep_alives(self) -> "Iterator[bytes]":
        return itertools.cycle((data({"type": "heartbeat"}), *_KEEP_ALIVES))


def data(event: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def agent_errors() -> dict[str, bytes]:
    """The agent's own failure in each form, by the fault that calls for it."""
    event = {"author": "nemo_agent", "id": str(uuid.uuid4()), "timestamp": time.time()}
    details = {"type": "RuntimeError", "message": "the tool gave up"}
    return {
        "agent_error": data({"error": "RuntimeError: the tool gave up", "error_details": details}),
        "agent_error_code": data({**event, "errorCode": "MALFORMED_FUNCTION_CALL"}),
        "agent_error_message": data({**event, "errorCode": "INTERNAL", "errorMessage": "the tool gave up"}),
    }
