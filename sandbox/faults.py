"""All faults, and which are in force: how often each strikes, how many times, where and for how long.

A fault is set to a rate, `rate_limited=0.2`, or to an object with any of
`rate` (0 to 1), `count` (only the next N), `on` (only these endpoints), `for` (only the next S seconds) and
`seconds` (how long, for a fault that is a duration). A bare number is the rate, or the seconds of a duration.
"""

import json
import math
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal

from sandbox.responses import Code, wrap

DOCUMENTED_SECONDS: Final = MappingProxyType(
    {
        "token": (0.2, 0.2),
        "session": (0.2, 0.2),
        "upload": (1.0, 1.0),
        "answer": (5.0, 15.0),
        "edit": (10.0, 30.0),
        "generation": (100.0, 300.0),
        "second_pass": (5.0, 15.0),
        "render": (30.0, 90.0),
    }
)
"""The shortest and the longest time that each takes in the real service. A fault fixes each, as `edit_seconds`."""


class Endpoint(StrEnum):
    """What a request is for. Faults can be limited to some endpoints."""

    TOKEN = "token"  # noqa: S105 - an endpoint, not a secret
    SESSION = "session"
    CLAIM = "claim"
    UPLOAD = "upload"
    EDIT = "edit"
    STATE = "state"
    BALANCE = "balance"
    RENDER = "render"
    POLL = "poll"
    CANCEL = "cancel"
    DOWNLOAD = "download"
    CDN = "cdn"


EVERYWHERE: Final = frozenset(Endpoint)
WITH_TOKEN: Final = EVERYWHERE - {Endpoint.TOKEN, Endpoint.CDN}
WITH_SESSION: Final = frozenset({Endpoint.CLAIM, Endpoint.UPLOAD, Endpoint.EDIT, Endpoint.STATE, Endpoint.RENDER})
FILES: Final = frozenset({Endpoint.CDN, Endpoint.DOWNLOAD})
EDIT: Final = frozenset({Endpoint.EDIT})
RENDER: Final = frozenset({Endpoint.RENDER})
POLL: Final = frozenset({Endpoint.POLL})

_HTML: Final = "<!doctype html><html><head><title>Sorry</title></head><body><h1>Please stand by</h1></body></html>"


@dataclass(frozen=True, slots=True)
class Canned:
    """A fixed response that is sent instead of doing anything."""

    status: int
    body: object = None
    """A string is sent as HTML, None as an empty body, anything else as JSON."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault, and the endpoints where it can strike."""

    name: str
    means: str
    endpoints: frozenset[Endpoint]
    canned: Canned | None = None
    measure: Literal["rate", "seconds"] = "rate"
    usual: float = 0.0
    """The default rate: some faults occur in normal operation."""


def _enveloped(status: int, code: int, message: str) -> Canned:
    return Canned(status, wrap(None, code=code, message=message))


_UNSUCCESSFUL: Final = Canned(200, {"success": False, "error": "the request could not be completed"})
_LIMITED: Final = _enveloped(429, Code.RATE_LIMITED, "too many requests")
_QUOTA: Final = _enveloped(429, Code.RATE_LIMITED, "one token per client per 7 days")
_TOKEN: Final = "token expired or invalid"  # noqa: S105 - a message

_TABLE: Final = (
    # Fixed responses.
    Kind("rate_limited", "HTTP 429, the envelope with code 429.", WITH_TOKEN, _LIMITED),
    Kind("token_quota", "HTTP 429 from the token endpoint.", frozenset({Endpoint.TOKEN}), _QUOTA),
    Kind("token_refused", "Code 1001 with HTTP 200.", WITH_TOKEN, _enveloped(200, 1001, _TOKEN)),
    Kind("token_refused_401", "Code 1001 with HTTP 401.", WITH_TOKEN, _enveloped(401, 1001, _TOKEN)),
    Kind("token_refused_bare", "HTTP 401 without a body.", WITH_TOKEN, Canned(401)),
    Kind("token_refused_1010", "Code 1010 with HTTP 200.", WITH_TOKEN, _enveloped(200, 1010, _TOKEN)),
    Kind("token_refused_1011", "Code 1011 with HTTP 200.", WITH_TOKEN, _enveloped(200, 1011, _TOKEN)),
    Kind("out_of_credits", "Code 2001.", WITH_SESSION, _enveloped(200, Code.OUT_OF_CREDITS, "insufficient credits")),
    Kind("plan_required", "HTTP 402.", WITH_SESSION, _enveloped(402, Code.PLAN_REQUIRED, "upgrade the plan to export")),
    Kind("server_error", "HTTP 500 with the envelope.", EVERYWHERE, _enveloped(500, 500, "internal error")),
    Kind("bad_gateway", "HTTP 502 with a proxy's HTML page.", EVERYWHERE, Canned(502, _HTML)),
    Kind("unavailable", "HTTP 503 without a body.", EVERYWHERE, Canned(503)),
    Kind("html", "A proxy's HTML page with HTTP 200 instead of JSON.", EVERYWHERE - FILES, Canned(200, _HTML)),
    Kind("success_false", 'HTTP 200 with {"success": false, "error": …}.', EVERYWHERE - FILES, _UNSUCCESSFUL),
    Kind("unknown_code", "Code 5999, which no contract names.", EVERYWHERE, _enveloped(200, 5999, "unforeseen")),
    Kind("stream_refused", "HTTP 503 with the envelope instead of a stream.", EDIT, _enveloped(503, 503, "agent busy")),
    Kind("claim_missing", "The claim endpoint does not exist: 404.", frozenset({Endpoint.CLAIM}), Canned(404)),
    Kind("result_missing", "The finished file is not there: 404.", FILES, Canned(404)),
    # Connections, tokens, sessions and uploads.
    Kind("connection_dropped", "The connection closes before anything is done.", EVERYWHERE),
    Kind("answer_dropped", "The work is done, but the connection closes without an answer.", EVERYWHERE),
    Kind("slow_answer", "Wait this many seconds before doing anything.", EVERYWHERE, measure="seconds"),
    Kind("tokens_expire", "A free token expires this many seconds after its issue.", WITH_TOKEN, measure="seconds"),
    Kind("session_lost", "The session is lost for good: code 1002.", WITH_SESSION),
    Kind("session_lost_404", "The session is lost for good: a bare 404.", WITH_SESSION),
    Kind("upload_not_applied", "The files are accepted, but not added to the draft.", frozenset({Endpoint.UPLOAD})),
    # The agent and its stream.
    Kind("silent_edit", "The edit is done, but the stream closes without a text.", EDIT, usual=0.3),
    Kind("temporary_issue", "After its answer, the agent mentions a temporary issue.", EDIT, usual=0.05),
    Kind("screen_talk", "The answer can end with instructions for a person at a screen.", EDIT, usual=1.0),
    Kind("agent_declines", "The agent declines; nothing changes.", EDIT),
    Kind("agent_asks_back", "The agent asks a question; nothing changes.", EDIT),
    Kind("agent_error", 'The agent fails: {"error": …, "error_details": …}.', EDIT),
    Kind("agent_error_code", "The agent fails: an event with errorCode alone.", EDIT),
    Kind("agent_error_message", "The agent fails: an event with errorCode and errorMessage.", EDIT),
    Kind("two_step_edit", "Half of the change comes halfway, the rest at the end.", EDIT),
    Kind("slow_stream", "Wait this many seconds before each event.", EDIT, measure="seconds"),
    Kind("silent_stream", "Only keep-alives for this many seconds; the work is done.", EDIT, measure="seconds"),
    Kind("stream_cut", "The stream breaks off midway; the work continues.", EDIT),
    Kind("stream_cut_ends", "The stream breaks off midway and the work ends with it.", EDIT),
    Kind("garbage_event", "One event is not JSON.", EDIT),
    # Exports and files.
    Kind("render_refused", "The export is refused: code 422.", RENDER),
    Kind("render_duplicate", "The export is accepted, but its new id is refused as a duplicate.", RENDER),
    Kind("render_failed", "The export ends as failed.", RENDER),
    Kind("render_stuck", "The export stays at processing forever.", RENDER),
    Kind("render_forgotten", "The export is unknown from now on: 404.", POLL),
    Kind("result_unreachable", "output.url leads nowhere; the download endpoint works.", POLL),
    Kind("download_cut", "The connection closes halfway through the file.", FILES),
    Kind("download_short", "The file ends early, and its length says so.", FILES),
    Kind("download_no_ranges", "The whole file is sent although a range was requested.", FILES),
    Kind("download_corrupted", "Right length, wrong bytes.", FILES),
    *(
        Kind(f"{name}_seconds", f"Each {name.replace('_', ' ')} takes this many seconds.", EVERYWHERE, None, "seconds")
        for name in DOCUMENTED_SECONDS
    ),
)
KINDS: Final = MappingProxyType({kind.name: kind for kind in _TABLE})


class UnknownFault(ValueError):
    """The name or the setting of a fault is invalid; the message says what is valid."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How often, how many times, where and how long one fault strikes."""

    rate: float = 1.0
    count: int | None = None
    on: tuple[str, ...] = ()
    until: float | None = None
    seconds: float = 0.0

    def covers(self, endpoint: Endpoint) -> bool:
        is_over = self.count == 0 or (self.until is not None and time.monotonic() > self.until)
        return not is_over and (not self.on or endpoint in self.on)


class Faults:
    """The faults in force. A reset restores those that the process was started with."""

    def __init__(self, started_with: Mapping[str, object], seed: int) -> None:
        self._started_with = started_with
        self._seed = seed
        self.struck: Counter[str] = Counter()
        self.reset()

    def reset(self) -> None:
        self._rng = random.Random(f"{self._seed}/faults")
        self._active = {kind.name: Setting(rate=kind.usual) for kind in KINDS.values() if kind.usual}
        self.struck.clear()
        self.change(self._started_with)

    def change(self, faults: Mapping[str, object]) -> None:
        """Merge these faults into those in force; None removes a fault. Either all are valid, or nothing changes."""
        settings = {name: None if value is None else read_setting(name, value) for name, value in faults.items()}
        for name, setting in settings.items():
            if setting is None:
                self._active.pop(name, None)
            else:
                self._active[name] = setting

    def strikes(self, name: str, endpoint: Endpoint) -> Setting | None:
        """The fault's setting if it strikes this request, else None; each strike uses up one of its count."""
        setting = self._active.get(name)
        if setting is None or not setting.covers(endpoint):
            return None
        if setting.rate < 1 and self._rng.random() >= setting.rate:
            return None
        if setting.count is not None:
            self._active[name] = replace(setting, count=setting.count - 1)
        self.struck[name] += 1
        return setting

    def canned_response(self, endpoint: Endpoint) -> Canned | None:
        """The fixed response to send here instead of doing any work, if a fault asks for one."""
        for name in tuple(self._active):
            kind = KINDS[name]
            if kind.canned and endpoint in kind.endpoints and self.strikes(name, endpoint):
                return kind.canned
        return None

    def seconds(self, name: str) -> float | None:
        """The duration that is set for this fault, if there is one."""
        return self._active[name].seconds if name in self._active else None

    def shown(self) -> dict[str, object]:
        """The faults in force, how often each has struck, and all faults that exist."""
        return {
            "now": {name: asdict(setting) for name, setting in self._active.items()},
            "struck": dict(self.struck),
            "known": {
                kind.name: {"means": kind.means, "measure": kind.measure, "on": sorted(kind.endpoints)}
                for kind in KINDS.values()
            },
        }


def read_setting(name: str, value: object) -> Setting:
    """Parse the setting of a fault from JSON: a number, true or false, or an object."""
    kind = KINDS.get(name)
    if kind is None:
        raise UnknownFault(f"no fault is named {name}; available: {', '.join(sorted(KINDS))}")
    if isinstance(value, int | float):
        value = {kind.measure: value}
    if not isinstance(value, dict) or not value.keys() <= {"rate", "count", "on", "for", "seconds"}:
        fields = "rate, count, on, for or seconds"
        raise UnknownFault(f"{name}: give a number, or an object with {fields}; not {_shown(value)}")
    if kind.measure == "seconds" and "seconds" not in value:
        raise UnknownFault(f"{name} is a duration: give the number of seconds")
    return Setting(
        rate=_number(name, "rate", value.get("rate", 1), 1),
        count=None if value.get("count") is None else int(_number(name, "count", value["count"], float("inf"))),
        on=_endpoints(kind, value.get("on", ())),
        until=None if "for" not in value else time.monotonic() + _number(name, "for", value["for"], float("inf")),
        seconds=_number(name, "seconds", value.get("seconds", 0), float("inf")),
    )


def read_words(text: str) -> tuple[str, object]:
    """Parse `name=0.2` or `name=count:2,on:render+poll`, as on the command line, for `read_setting`."""
    name, _, value = text.partition("=")
    if ":" not in value:
        return name, _parse_number(name, value or "1")
    return name, dict(_parse_field(name, part) for part in value.split(","))


def _parse_field(name: str, part: str) -> tuple[str, object]:
    key, colon, value = part.partition(":")
    if not colon:
        raise UnknownFault(f"{name}: each part is key:value, and {part} is not")
    if not value:
        raise UnknownFault(f"{name}: {key} has no value")
    return key, value.split("+") if key == "on" else _parse_number(name, value)


def _parse_number(name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise UnknownFault(f"{name}: '{value}' is not a number") from None


def _number(name: str, field: str, value: object, maximum: float) -> float:
    if not isinstance(value, int | float) or not (math.isfinite(value) and 0 <= value <= maximum):
        limits = "from 0 to 1" if maximum == 1 else "from 0"
        raise UnknownFault(f"{name}: {field} must be a number {limits}, not {_shown(value)}")
    if field == "count" and value != int(value):
        raise UnknownFault(f"{name}: count must be a whole number, not {_shown(value)}")
    return float(value)


def _endpoints(kind: Kind, value: object) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list | tuple) else None
    if names is None or not all(isinstance(name, str) and name in kind.endpoints for name in names):
        raise UnknownFault(f"{kind.name}: `on` takes any of {', '.join(sorted(kind.endpoints))}; not {_shown(value)}")
    return names


def _shown(value: object) -> str:
    """A value as its sender wrote it."""
    return json.dumps(value, ensure_ascii=False)
