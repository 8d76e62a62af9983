"""Records what the sandbox was asked, in order, for tests to assert on. Tokens are never recorded."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sandbox.state import Render

ATTRIBUTION: Final = ("X-Skill-Source", "X-Skill-Version", "X-Skill-Platform")


@dataclass(kw_only=True)
class Timestamps:
    """When something happened, on the clock that all durations are measured with, and by the time of day."""

    at: float = field(default_factory=time.monotonic)
    wall: float = field(default_factory=time.time)


def now() -> dict[str, float]:
    return vars(Timestamps())


@dataclass
class Message(Timestamps):
    """One instruction that reached the agent, and its outcome."""

    text: str
    repeat: bool
    """The same text was sent in this session before, and not refused."""
    account: str
    outcome: str = "under way"
    charge: int = 0
    ended_at: float | None = None

    def close(self, outcome: str, charge: int = 0) -> None:
        self.outcome = outcome
        self.charge = charge
        self.ended_at = time.monotonic()


@dataclass
class RequestRecord:
    """One request, from its arrival to the end of its answer."""

    endpoint: str
    about: str | None = None
    """The session, the render or the file that it named; for a new session, its id."""
    at: float = field(default_factory=time.monotonic)
    ended_at: float | None = None


@dataclass
class SessionRecord(Timestamps):
    """What one session was asked to do."""

    account: str
    language: str
    messages: list[Message] = field(default_factory=list)
    uploads: list[dict[str, Any]] = field(default_factory=list)

    def shown(self) -> dict[str, object]:
        messages = [vars(message) for message in self.messages]
        return {**vars(self), "messages": messages, "charged": sum(message.charge for message in self.messages)}


class Ledger:
    """The records of all sessions, exports and requests."""

    def __init__(self) -> None:
        self.renders: dict[str, Render] = {}
        self._sessions: dict[str, SessionRecord] = {}
        self._requests: list[RequestRecord] = []
        self._request_counts: Counter[str] = Counter()
        self._refusal_counts: Counter[str] = Counter()
        self._token_requests: dict[str, list[dict[str, Any]]] = {}
        self._charges: list[dict[str, Any]] = []
        self._missing_headers: list[dict[str, Any]] = []
        self._tokens_at_cdn = 0

    def request(self, endpoint: str, method: str, path: str, headers: Mapping[str, str]) -> RequestRecord:
        """Record a request, and the attribution headers that it lacks. The CDN needs none."""
        self._request_counts[endpoint] += 1
        self._requests.append(record := RequestRecord(endpoint))
        missing = [name for name, is_there in attribution(headers).items() if not is_there]
        if endpoint == "cdn":
            # Results can lie on any host: a client that sends its token there leaks it.
            self._tokens_at_cdn += "authorization" in headers
        elif missing:
            self._missing_headers.append({"method": method, "path": path, "missing": missing, **now()})
        return record

    def refusal(self, code: int) -> None:
        self._refusal_counts[str(int(code))] += 1

    def token_request(self, client_id: str, outcome: str) -> None:
        self._token_requests.setdefault(client_id, []).append({"outcome": outcome, **now()})

    def session(self, session_id: str, account: str, language: str) -> None:
        self._sessions[session_id] = SessionRecord(account, language)

    def upload(self, session_id: str, filename: str, size: int, sha256: str) -> None:
        self._sessions[session_id].uploads.append({"filename": filename, "size": size, "sha256": sha256, **now()})

    def message(self, session_id: str, text: str, account: str) -> Message:
        messages = self._sessions[session_id].messages
        repeat = any(text == earlier.text for earlier in messages if earlier.outcome != "refused")
        messages.append(message := Message(text, repeat, account))
        return message

    def charge(self, session_id: str, account: str, credits_: int, why: str) -> None:
        self._charges.append({"session": session_id, "account": account, "credits": credits_, "why": why, **now()})

    def applied_texts(self, session_id: str) -> Iterable[str]:
        """The instructions that took effect in this session, in order."""
        return (message.text for message in self._sessions[session_id].messages if message.outcome == "applied")

    def requests(self) -> list[dict[str, object]]:
        """Every request in order of arrival; kept apart from the rest because it is long."""
        return [vars(request) for request in self._requests]

    def shown(self) -> dict[str, object]:
        return {
            "now": now(),
            "sessions": {session_id: record.shown() for session_id, record in self._sessions.items()},
            "charges": self._charges,
            "charged": sum(charge["credits"] for charge in self._charges),
            "renders": [_render_shown(render) for render in self.renders.values()],
            "polls": sum(len(render.looks) for render in self.renders.values()),
            "token_requests": self._token_requests,
            "requests": dict(self._request_counts),
            "refusals": dict(self._refusal_counts),
            "missing_headers": self._missing_headers,
            "tokens_at_cdn": self._tokens_at_cdn,
        }


def attribution(headers: Mapping[str, str]) -> dict[str, bool]:
    """Which of the attribution headers are there."""
    return {name: bool(headers.get(name)) for name in ATTRIBUTION}


def _render_shown(render: "Render") -> dict[str, object]:
    times = [render.at, *(look["at"] for look in render.looks)]
    return {
        "id": render.id,
        "session": render.session.id,
        "status": render.status,
        "attribution": render.attribution,
        "at": render.at,
        "wall": render.wall,
        "ended_at": render.ended_at,
        "file": render.file,
        "looks": render.looks,
        "spacing": [round(later - earlier, 4) for earlier, later in pairwise(times)],
    }
