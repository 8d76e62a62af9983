"""All faults in one table, each with its meaning and the endpoints where it can strike."""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal

from sandbox.envelope import Code, wrap
from sandbox.settings import DOCUMENTED_SECONDS


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

HTML: Final = "<!doctype html><html><head><title>Sorry</title></head><body><h1>Please stand by</h1></body></html>"


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


_LIMITED: Final = _enveloped(429, Code.RATE_LIMITED, "too many requests")
_QUOTA: Final = _enveloped(429, Code.RATE_LIMITED, "one token per client per 7 days")
_TOKEN: Final = "token expired or invalid"  # noqa: S105 - a message

_CANNED: Final = (
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
    Kind("bad_gateway", "HTTP 502 with a proxy's HTML page.", EVERYWHERE, Canned(502, HTML)),
    Kind("unavailable", "HTTP 503 without a body.", EVERYWHERE, Canned(503)),
    Kind("html", "A proxy's HTML page with HTTP 200 instead of JSON.", EVERYWHERE - FILES, Canned(200, HTML)),
    Kind(
        "success_false",
        'HTTP 200 with {"success": false, "error": …}.',
        EVERYWHERE - FILES,
        Canned(200, {"success": False, "error": "the request could not be completed"}),
    ),
    Kind("unknown_code", "Code 5999, which no contract names.", EVERYWHERE, _enveloped(200, 5999, "unforeseen")),
    Kind("stream_refused", "HTTP 503 with the envelope instead of a stream.", EDIT, _enveloped(503, 503, "agent busy")),
    Kind("claim_missing", "The claim endpoint does not exist: 404.", frozenset({Endpoint.CLAIM}), Canned(404)),
    Kind("result_missing", "The finished file is not there: 404.", FILES, Canned(404)),
)

_WIRE: Final = (
    Kind("connection_dropped", "The connection closes before anything is done.", EVERYWHERE),
    Kind("answer_dropped", "The work is done, but the connection closes without an answer.", EVERYWHERE),
    Kind("slow_answer", "Wait this many seconds before doing anything.", EVERYWHERE, measure="seconds"),
    Kind("tokens_expire", "A free token expires this many seconds after its issue.", WITH_TOKEN, measure="seconds"),
    Kind("session_lost", "The session is lost for good: code 1002.", WITH_SESSION),
    Kind("session_lost_404", "The session is lost for good: a bare 404.", WITH_SESSION),
    Kind("upload_not_applied", "The files are accepted, but not added to the draft.", frozenset({Endpoint.UPLOAD})),
)

_AGENT: Final = (
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
)

_RENDERS: Final = (
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
)

_LATENCIES: Final = tuple(
    Kind(
        f"{name}_seconds",
        f"Each {name.replace('_', ' ')} takes this many seconds.",
        EVERYWHERE,
        measure="seconds",
    )
    for name in DOCUMENTED_SECONDS
)

KINDS: Final = MappingProxyType({kind.name: kind for kind in (*_CANNED, *_WIRE, *_AGENT, *_RENDERS, *_LATENCIES)})
