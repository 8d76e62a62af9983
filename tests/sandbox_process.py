"""A sandbox as a process of its own, and a caller that speaks the contract to it in plain httpx."""

import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, Final, Self

import httpx

READY: Final = "sandbox ready at "
ATTRIBUTION: Final = {"X-Skill-Source": "video-models", "X-Skill-Version": "1.0.0", "X-Skill-Platform": "unknown"}
NO_TLS: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients that speak plain HTTP: without it each would read the certificates of all authorities, which is slow."""


class SandboxProcess(AbstractContextManager["SandboxProcess"]):
    """`python -m sandbox`, started and stopped. A fault is `name=0.2` or `name={"count": 2, "on": "render"}`."""

    def __init__(self, faults: Mapping[str, object], options: Mapping[str, object]) -> None:
        # A folder of its own for its temporary files, so that a killed one leaves nothing behind.
        self._folder = tempfile.TemporaryDirectory(prefix="sandbox-test-")
        self.folder = Path(self._folder.name)
        command = [sys.executable, "-m", "sandbox", "--port=0", "--end-with-stdin"]
        command += [f"--{name.replace('_', '-')}" + _value(value) for name, value in options.items()]
        command += [name + _value(value) for name, value in faults.items()]
        env = os.environ | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), self._folder.name)
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True, cwd=Path(__file__).parents[1], env=env
        )
        assert self.process.stdout
        line = self.process.stdout.readline().strip()
        if not line.startswith(READY):
            self.process.kill()
            raise RuntimeError(f"the sandbox did not start; it said {line!r}")
        self.url = line.removeprefix(READY)
        self.control = httpx.Client(base_url=self.url, trust_env=False, verify=NO_TLS, timeout=60)
        self.callers = ExitStack()
        """Closes them."""

    @classmethod
    def start(cls, *, faults: Mapping[str, object] | None = None, **options: object) -> Self:
        """Options are those of the command line, underscores for dashes; True for one that takes no value."""
        return cls(faults or {}, options)

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def faults(self, **faults: object) -> None:
        """Merge these into the faults in force; None takes one out."""
        self.control.post("/sandbox/faults", json=faults).raise_for_status()

    def clear_faults(self) -> None:
        """Back to those that the process was started with."""
        self.control.delete("/sandbox/faults").raise_for_status()

    def ledger(self) -> dict[str, Any]:
        answer = self.control.get("/sandbox/ledger").raise_for_status()
        return dict(answer.json())

    def messages(self, session: str) -> list[dict[str, Any]]:
        """What the ledger has of a session's messages."""
        return list(self.ledger()["sessions"][session]["messages"])

    def requests(self, endpoint: str = "") -> list[dict[str, Any]]:
        """The book of requests; given an endpoint, of those to it."""
        noted = self.control.get("/sandbox/requests").json()["requests"]
        return [each for each in noted if endpoint in ("", each["endpoint"])]

    def top_up(self, credits_: int) -> None:
        self.control.post("/sandbox/credits", json={"credits": credits_}).raise_for_status()

    def caller(self, token: str = "") -> "Caller":
        """Somebody who calls it."""
        made = Caller(self.url, token)
        self.callers.callback(made.http.close)
        return made

    def guest(self) -> "Caller":
        """A caller with a free token."""
        made = self.caller()
        made.take_token().raise_for_status()
        return made

    def reset(self) -> None:
        self.control.post("/sandbox/reset").raise_for_status()

    def stop(self) -> None:
        """As a person stops it; one that does not end is killed."""
        self.callers.close()
        self.control.close()
        self.process.terminate()
        with self.process:  # closes its streams, and waits
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self._folder.cleanup()


Start = Callable[..., SandboxProcess]
"""The fixture `start_sandbox`."""


class Caller:
    """One client of the service. It retries nothing and hides nothing: each call gives the bare answer."""

    def __init__(self, url: str, token: str = "") -> None:
        self.client_id = str(uuid.uuid4())
        self.http = httpx.Client(base_url=url, headers=ATTRIBUTION, trust_env=False, verify=NO_TLS, timeout=60)
        if token:
            self.http.headers["Authorization"] = f"Bearer {token}"

    def take_token(self) -> httpx.Response:
        answer = self.http.post("/api/auth/anonymous-token", headers={"X-Client-Id": self.client_id})
        if answer.is_success:
            self.http.headers["Authorization"] = f"Bearer {answer.json()['data']['token']}"
        return answer

    def open_session(self, language: str = "en") -> str:
        body = {"task_name": "project", "language": language}
        answer = self.http.post("/api/tasks/me/with-session/nemo_agent", json=body).raise_for_status()
        return str(answer.json()["data"]["session_id"])

    def upload(self, session: str, *files: tuple[str, bytes]) -> httpx.Response:
        parts = [("files", file) for file in files]
        return self.http.post(f"/api/upload-video/nemo_agent/me/{session}", files=parts)

    def send(self, session: str, text: str) -> httpx.Response:
        """The message, and the stream read to its end."""
        with self.stream(session, text) as answer:
            answer.read()
        return answer

    def stream(self, session: str, text: str) -> AbstractContextManager[httpx.Response]:
        headers = {"Accept": "text/event-stream"}
        return self.http.stream("POST", "/run_sse", json=message(session, text), headers=headers)

    def state(self, session: str) -> httpx.Response:
        return self.http.get(f"/api/state/nemo_agent/me/{session}/latest")

    def draft(self, session: str) -> dict[str, Any]:
        return dict(self.state(session).raise_for_status().json()["data"]["state"]["draft"])

    def balance(self) -> dict[str, int]:
        return dict(self.http.get("/api/credits/balance/simple").raise_for_status().json()["data"])

    def render(self, session: str, render_id: str, draft: dict[str, Any] | None = None) -> httpx.Response:
        wanted = self.draft(session) if draft is None else draft
        output = {"format": "mp4", "quality": "high"}
        body = {"id": render_id, "sessionId": session, "draft": wanted, "output": output}
        return self.http.post("/api/render/proxy/lambda", json=body)

    def look(self, render_id: str) -> httpx.Response:
        return self.http.get(f"/api/render/proxy/lambda/{render_id}")

    def end_of(self, render_id: str) -> "Outcome":
        """What became of an export, when it has ended."""
        until(lambda: outcome(self.look(render_id))[0] in {"completed", "failed"})
        return outcome(self.look(render_id))


Outcome = tuple[str, str | None, str | None]


def outcome(answer: httpx.Response) -> Outcome:
    """Status, address and reason of an export, out of any form of the answer."""
    body: dict[str, Any] = answer.json()
    inner = body.get("data", body)
    return inner["status"], inner.get("outputUrl") or inner.get("output", {}).get("url"), inner.get("error")


def until(so: Callable[[], bool]) -> None:
    """Wait for a condition; fail when it takes too long."""
    over = time.monotonic() + 60
    while not so():
        assert time.monotonic() < over
        time.sleep(0.05)


def message(session: str, text: str) -> dict[str, Any]:
    parts = {"parts": [{"text": text}]}
    return {"app_name": "nemo_agent", "user_id": "me", "session_id": session, "new_message": parts}


def events(stream: str) -> list[dict[str, Any]]:
    """The JSON events of a stream; keep-alives are left out."""
    payloads = [line.removeprefix("data:").strip() for line in stream.splitlines() if line.startswith("data:")]
    return [json.loads(payload) for payload in payloads if payload not in {"", "{}"}]


def _value(value: object) -> str:
    """What follows a name on the command line."""
    if isinstance(value, Mapping):
        parts = {key: "+".join(part) if isinstance(part, list) else part for key, part in value.items()}
        value = ",".join(f"{key}:{part}" for key, part in parts.items())
    return "" if value is True else f"={value}"
