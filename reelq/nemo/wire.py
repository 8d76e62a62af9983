"""Maps the service's JSON to our types and back, and its error codes to our errors, with one table each."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, TypeVar

from reelq import errors
from reelq.nemo.safe_text import excerpt, parse, redact, to_float, to_int, without_invalid_characters
from reelq.nemo.types import Balance, Grant, Json, Progress, RenderStatus, Session, State


class Area(StrEnum):
    """Which part of the service was asked: the same status means different things in different parts."""

    TOKEN = "token"  # noqa: S105 - a place, not a secret
    SESSION = "session"
    ACCOUNT = "account"
    RENDER = "render"
    FILE = "file"


TOKEN_REFUSED: Final = frozenset({1001, 1010, 1011})
CODES: Final[Mapping[int, type[errors.RemoteError]]] = MappingProxyType(
    {
        **dict.fromkeys(TOKEN_REFUSED, errors.TokenRefused),
        1002: errors.SessionGone,
        2001: errors.CreditsExhausted,
        4001: errors.TypeNotAccepted,
        4002: errors.FileTooLarge,
        402: errors.PlanRequired,
        429: errors.RateLimited,
    }
)
"""What a response's `code` means in every part of the service; 0 is success."""
STATUSES: Final[Mapping[int, type[errors.RemoteError]]] = MappingProxyType(
    {
        401: errors.TokenRefused,
        402: errors.PlanRequired,
        408: errors.TimedOut,
        413: errors.FileTooLarge,
        415: errors.TypeNotAccepted,
        429: errors.RateLimited,
    }
)
"""What a bare HTTP status means in every part of the service; 5xx is always `ServerTrouble`."""
_ERRORS_BY_PART: Final[Mapping[tuple[Area, int], type[errors.RemoteError]]] = MappingProxyType(
    {
        (Area.TOKEN, 400): errors.ClientIdMissing,
        (Area.TOKEN, 429): errors.TokenQuota,
        (Area.SESSION, 404): errors.SessionGone,
        (Area.RENDER, 404): errors.RenderUnknown,
        (Area.RENDER, 409): errors.SessionBusy,
        (Area.FILE, 403): errors.ResultMissing,
        (Area.FILE, 404): errors.ResultMissing,
        (Area.FILE, 410): errors.ResultMissing,
    }
)
"""What a code or status means in one part of the service only."""
_DUPLICATE_PHRASES: Final = ("duplicate", "already exist", "already used", "already in use", "重复", "已存在")
T = TypeVar("T")
_RENDER_STATUSES: Final = MappingProxyType(
    {
        "pending": RenderStatus.PENDING,
        "processing": RenderStatus.RUNNING,
        "completed": RenderStatus.DONE,
        "failed": RenderStatus.FAILED,
    }
)


def parse_answer(read: Callable[[Json], T], status: int, body: bytes, where: Area, *, secret: str = "") -> T:
    """Parse a whole response with `read`; an answer that it can't parse is kept in the error."""
    try:
        return read(unwrap(status, body, where, secret=secret))
    except errors.Unintelligible as error:
        raise errors.Unintelligible(str(error), raw=excerpt(body, secret)) from None


def unwrap(status: int, body: bytes, where: Area, *, secret: str = "") -> Json:
    """The content of a whole response; raises the error that its code, status or shape stands for."""
    try:
        answer = parse(body)
    except ValueError:
        answer = None
    if isinstance(answer, dict):
        for envelope in _envelopes(answer):
            _raise_refusal(status, envelope, where, body, secret)
        return _content(answer)
    raw = excerpt(body, secret)
    if status >= 400:
        error_type = _error_of_status(status, where)
        raise error_type(f"{_summary(error_type, status)} (HTTP {status})", raw=raw, remote_code=status)
    raise errors.Unintelligible(
        f"The service's answer is not a JSON object; it may be a proxy's page (HTTP {status})", raw=raw
    )


def _envelopes(answer: Json) -> Iterator[Json]:
    """Everything that can carry a refusal: the answer, and the second envelope that a render's answer can hold."""
    yield answer
    inner = answer.get("data")
    if isinstance(inner, dict) and inner.get("success") is False:
        yield inner


def _content(answer: Json) -> Json:
    """The content of the envelope, or of the second one inside it. Without an envelope, the answer itself."""
    for _ in range(2):
        if not ({"code", "success"} & answer.keys()) or "data" not in answer:
            break
        inner = answer["data"]
        if not isinstance(inner, dict):
            return {} if inner is None else {"data": inner}
        answer = inner
    return answer


def _raise_refusal(status: int, envelope: Json, where: Area, body: bytes, secret: str) -> None:
    """Raise the error that this JSON object stands for, if any."""
    code = to_int(envelope.get("code"))
    if code is None and status < 400 and envelope.get("success") is not False and envelope.get("code") is None:
        return
    if code == 0 and envelope.get("success") is not False:
        return
    reason = _reason(envelope)
    number = code or (status if status >= 400 else None)
    error_type = _error_type(code, status, where, reason)
    detail = redact(reason, secret)[:300] or "no reason given"
    message = f"{_summary(error_type, number)}: {detail}" + (f" ({number})" if number is not None else "")
    raise error_type(message, raw=excerpt(body, secret), remote_code=number)


def _summary(error_type: type[errors.RemoteError], number: int | None) -> str:
    """What happened, from the error's docstring, without the number: the message ends with that."""
    return error_type.summary().replace(f" ({number})", "").replace(" (5xx)", "")


def _error_type(code: int | None, status: int, where: Area, reason: str) -> type[errors.RemoteError]:
    """The error class of a refusal: by its reason, else by its code, else by its status."""
    if where is Area.RENDER and any(phrase in reason.casefold() for phrase in _DUPLICATE_PHRASES):
        return errors.RenderDuplicate
    error_type = _error_of_code(code, where) if code else None
    return error_type or (_error_of_status(status, where) if status >= 400 else errors.Rejected)


def _reason(answer: Json) -> str:
    """The reason that an error response gives, under whichever key."""
    for key in ("message", "error", "detail", "msg"):
        value = answer.get(key)
        if isinstance(value, dict):
            value = value.get("message")
        if isinstance(value, str) and value.strip():
            return without_invalid_characters(value.strip())
    return ""


def _error_of_code(code: int, where: Area) -> type[errors.RemoteError] | None:
    error_type = _ERRORS_BY_PART.get((where, code)) or CODES.get(code)
    return error_type or (_error_of_status(code, where) if 400 <= code < 600 else None)


def _error_of_status(status: int, where: Area) -> type[errors.RemoteError]:
    if status >= 500:
        return errors.ServerTrouble
    return _ERRORS_BY_PART.get((where, status)) or STATUSES.get(status) or errors.Rejected


def _text(answer: Json, key: str) -> str:
    """An optional text; a number is converted, anything else counts as absent."""
    value = answer.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return without_invalid_characters(value) if isinstance(value, str) else ""


def _required(answer: Json, key: str) -> str:
    value = _text(answer, key)
    if not value:
        raise _missing_field(key)
    return value


def _missing_field(key: str) -> errors.Unintelligible:
    return errors.Unintelligible(f"The answer has no valid {key!r}")


def read_accepted(_: Json) -> None:
    """Nothing to read: it is enough that the answer is not a refusal."""


def read_grant(answer: Json) -> Grant:
    token = _required(answer, "token")
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise errors.Unintelligible("The token can't be put into a header")
    return Grant(token, _text(answer, "user_id"), to_int(answer.get("credits")), _timestamp(answer.get("expires_at")))


def _timestamp(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def read_session(answer: Json) -> Session:
    return Session(_required(answer, "session_id"), _text(answer, "task_id"), _text(answer, "user_id"))


def check_uploaded(answer: Json) -> None:
    """An upload is answered with a list of its files. The session's draft shows what became of them."""
    files = answer.get("files")
    if not isinstance(files, list) or not all(isinstance(file, dict) for file in files):
        raise _missing_field("files")


def read_state(answer: Json) -> State:
    state = answer.get("state")
    if not isinstance(state, dict):
        raise _missing_field("state")
    draft = state.get("draft")
    if draft is not None and not isinstance(draft, dict):
        raise _missing_field("draft")
    return State(draft, _text(answer, "user_id"))


def read_balance(answer: Json) -> Balance:
    available = to_int(answer.get("available"))
    if available is None:
        raise _missing_field("available")
    frozen = to_int(answer.get("frozen") or 0)
    if frozen is None:  # the cost of an edit is computed from the sum of both: with only one it would be wrong
        raise _missing_field("frozen")
    return Balance(available, frozen, to_int(answer.get("total")))


def read_progress(answer: Json) -> Progress:
    status_text = _text(answer, "status").casefold()
    status = _RENDER_STATUSES.get(status_text)
    if status is None:
        raise _missing_field("status")
    output = answer.get("output")
    url = (_text(output, "url") if isinstance(output, dict) else "") or _text(answer, "outputUrl")
    return Progress(status, _percent(status, answer.get("progress")), url, _reason(answer))


def _percent(status: RenderStatus, value: object) -> int | None:
    if status is RenderStatus.DONE:
        return 100
    number = to_float(value)
    if number is None:
        return None
    return round(min(max(number * 100 if number < 1 else number, 0), 100))


def write_message(session_id: str, text: str) -> dict[str, Any]:
    return {
        "app_name": "nemo_agent",
        "user_id": "me",
        "session_id": session_id,
        "new_message": {"parts": [{"text": text}]},
    }


def write_render(render_id: str, session_id: str, draft: Json) -> dict[str, Any]:
    # Only this request spells `sessionId` in camelCase.
    return {"id": render_id, "sessionId": session_id, "draft": draft, "output": {"format": "mp4", "quality": "high"}}
