"""Records what the sandbox was asked, in order, for tests to assert on. Tokens are never recorded."""

import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ATTRIBUTION: Final = ("X-Skill-Source", "X-Skill-Version", "X-Skill-Platform")


def _now() -> dict[str, float]:
    return {"at": time.monotonic(), "wall": time.time()}


@dataclass(slots=True)
class Message:
    """One instruction that reached the agent, and its outcome."""

    text: str
    repeat: bool
    """The same text was sent in this session before, and not refused."""
    account: str
    outcome: str = "under way"
    charge: int = 0
    sent: dict[str, float] = field(default_factory=_now)
    ended_at: float | None = None

    def close(self, outcome: str, charge: int = 0) -> None:
        self.outcome = outcome
        self.charge = charge
        self.ended_at = time.monotonic()

    def shown(self) -> dict[str, object]:
        return {
            "text": self.text,
            "repeat": self.repeat,
            "account": self.account,
            "outcome": self.outcome,
            "charge": self.charge,
            **self.sent,
            "ended_at": self.ended_at,
        }


@dataclass(slots=True)
class Request:
    """One request, from its arrival to the end of its answer."""

    endpoint: str
    about: str | None = None
    """The session, the render or the file that it named; for a new session, its id."""
    at: float = field(default_factory=time.monotonic)
    ended_at: float | None = None

    def shown(self) -> dict[str, object]:
        return {"endpoint": self.endpoint, "about": self.about, "at": self.at, "ended_at": self.ended_at}


@dataclass(slots=True)
class Export:
    """One render: who requested it, and when it was polled."""

    id: str
    session: str
    attribution: dict[str, bool]
    status: str = "pending"
    submitted: dict[str, float] = field(default_factory=_now)
    looks: list[dict[str, Any]] = field(default_factory=list)
    file: str | None = None
    ended_at: float | None = None

    def close(self, status: str, file: str | None) -> None:
        self.status = status
        self.file = file
        self.ended_at = time.monotonic()

    def look(self, status: str) -> None:
        self.looks.append({**_now(), "status": status})

    def shown(self) -> dict[str, object]:
        times = [self.submitted["at"], *(look["at"] for look in self.looks)]
        return {
            "id": self.id,
            "session": self.session,
            "status": self.status,
            "attribution": self.attribution,
            **self.submitted,
            "ended_at": self.ended_at,
            "file": self.file,
            "looks": self.looks,
            "spacing": [round(later - earlier, 4) for earlier, later in pairwise(times)],
        }


@dataclass(slots=True)
class SessionBook:
    """What one session was asked to do."""

    account: str
    language: str
    opened: dict[str, float] = field(default_factory=_now)
    messages: list[Message] = field(default_factory=list)
    uploads: list[dict[str, Any]] = field(default_factory=list)

    def shown(self) -> dict[str, object]:
        return {
            "account": self.account,
            "language": self.language,
            **self.opened,
            "messages": [message.shown() for message in self.messages],
            "charged": sum(message.charge for message in self.messages),
            "uploads": self.uploads,
        }


class Ledger:
    """The records of all sessions, exports and requests."""

    def __init__(self) -> None:
        self._sessions: dict[str, SessionBook] = {}
        self._exports: dict[str, Export] = {}
        self._request_log: list[Request] = []
        self._request_counts: Counter[str] = Counter()
        self._refusal_counts: Counter[str] = Counter()
        self._token_requests: dict[str, list[dict[str, Any]]] = {}
        self._charges: list[dict[str, Any]] = []
        self._missing_headers: list[dict[str, Any]] = []
        self._tokens_at_cdn = 0

    def request(self, endpoint: str, method: str, path: str, headers: "Mapping[str, str]") -> Request:
        """Record a request, and the attribution headers that it lacks. The CDN needs none."""
        self._request_counts[endpoint] += 1
        self._request_log.append(Request(endpoint))
        if endpoint == "cdn":
            # Results can lie on any host: a client that sends its token there leaks it.
            self._tokens_at_cdn += "authorization" in headers
            return self._request_log[-1]
        missing = [name for name in ATTRIBUTION if not headers.get(name)]
        if missing:
            self._missing_headers.append({"method": method, "path": path, "missing": missing, **_now()})
        return self._request_log[-1]

    def refusal(self, code: int) -> None:
        self._refusal_counts[str(int(code))] += 1

    def token_request(self, client_id: str, outcome: str) -> None:
        self._token_requests.setdefault(client_id, []).append({"outcome": outcome, **_now()})

    def session(self, session_id: str, account: str, language: str) -> None:
        self._sessions[session_id] = SessionBook(account, language)

    def upload(self, session_id: str, filename: str, size: int, sha256: str) -> None:
        self._sessions[session_id].uploads.append({"filename": filename, "size": size, "sha256": sha256, **_now()})

    def message(self, session_id: str, text: str, account: str) -> Message:
        messages = self._sessions[session_id].messages
        repeat = any(text == earlier.text for earlier in messages if earlier.outcome != "refused")
        message = Message(text, repeat, account)
        messages.append(message)
        return message

    def charge(self, session_id: str, account: str, credits_: int, why: str) -> None:
        self._charges.append({"session": session_id, "account": account, "credits": credits_, "why": why, **_now()})

    def export(self, render_id: str, session_id: str, headers: "Mapping[str, str]") -> Export:
        attribution = {name: bool(headers.get(name)) for name in ATTRIBUTION}
        self._exports[render_id] = Export(render_id, session_id, attribution)
        return self._exports[render_id]

    def applied_texts(self, session_id: str) -> "Iterable[str]":
        """The instructions that took effect in this session, in order."""
        return (message.text for message in self._sessions[session_id].messages if message.outcome == "applied")

    def book(self) -> list[dict[str, object]]:
        """Every request in order of arrival; kept apart from the rest because it is long."""
        return [request.shown() for request in self._request_log]

    def shown(self) -> dict[str, object]:
        exports = [export.shown() for export in self._exports.values()]
        return {
            "now": _now(),
            "sessions": {session_id: book.shown() for session_id, book in self._sessions.items()},
            "charges": self._charges,
            "charged": sum(charge["credits"] for charge in self._charges),
            "renders": exports,
            "polls": sum(len(export.looks) for export in self._exports.values()),
            "token_requests": self._token_requests,
            "requests": dict(self._request_counts),
            "refusals": dict(self._refusal_counts),
            "missing_headers": self._missing_headers,
            "tokens_at_cdn": self._tokens_at_cdn,
        }
