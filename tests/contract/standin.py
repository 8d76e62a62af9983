"""What these tests ask again and again, most of it of the stand-in."""

import time
from collections.abc import Callable
from typing import Any, Final

import httpx

from reelq.remote.sse import Patience
from tests.sandbox_process import Caller, SandboxProcess

PATIENT: Final = Patience(life=100, silence=100)


def until(so: Callable[[], bool]) -> None:
    """Wait for a condition; fail when it takes too long."""
    over = time.monotonic() + 60
    while not so():
        assert time.monotonic() < over
        time.sleep(0.05)


def outcome(answer: httpx.Response) -> tuple[str, str | None, str | None]:
    """Status, address and reason of an export, out of any form of the answer."""
    body: dict[str, Any] = answer.json()
    inner = body.get("data", body)
    return inner["status"], inner.get("outputUrl") or inner.get("output", {}).get("url"), inner.get("error")


def end_of(caller: Caller, render_id: str) -> tuple[str, str | None, str | None]:
    """The outcome of an export that has ended."""
    until(lambda: outcome(caller.look(render_id))[0] in {"completed", "failed"})
    return outcome(caller.look(render_id))


def messages(sandbox: SandboxProcess, session: str) -> list[dict[str, Any]]:
    """What the ledger has of a session's messages."""
    noted: list[dict[str, Any]] = sandbox.ledger()["sessions"][session]["messages"]
    return noted


def requests(sandbox: SandboxProcess, endpoint: str = "") -> list[dict[str, Any]]:
    """The book of requests; given an endpoint, of those to it."""
    noted = sandbox.control.get("/sandbox/requests").json()["requests"]
    return [each for each in noted if endpoint in ("", each["endpoint"])]
