"""Their JSON to our dataclasses and back, and their error codes to our errors: one table each."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, TypeVar

from reelq import errors
from reelq.remote.jsontext import finite, parse, plain, shown, whole
from reelq.remote.receipts import Balance, Grant, Json, Media, Progress, RenderStatus, Session, State, Uploaded
from reelq.remote.redact import redact


class Where(StrEnum):
    """Which part of the service was asked: the same status means different things in different places."""

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
"""What stands in an answer's `code`, wherever it comes from; 0 is success."""

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
"""What a bare HTTP status means, wherever it comes from; 5xx is always `ServerTrouble`."""

_PLACES: Final[Mapping[tuple[Where, int], type[errors.RemoteError]]] = MappingProxyType(
    {
        (Where.TOKEN, 400): errors.ClientIdMissing,
        (Where.TOKEN, 429): errors.TokenQuota,
        (Where.SESSION, 404): errors.SessionGone,
        (Where.RENDER, 404): errors.RenderUnknown,
        (Where.RENDER, 409): errors.SessionBusy,
        (Where.FILE, 403): errors.ResultMissing,
        (Where.FILE, 404): errors.ResultMissing,
        (Where.FILE, 410): errors.ResultMissing,
    }
)
"""What a code or status means in one place only."""

_DUPLICATE_WORDS: Final = ("duplicate", "already exist", "already used", "already in use", "重复", "已存在")
T = TypeVar("T")

_RENDER_WORDS: Final = MappingProxyType(
    {
        "pending": RenderStatus.PENDING,
        "processing": RenderStatus.RUNNING,
        "completed": RenderStatus.DONE,
        "failed": RenderStatus.FAILED,
    }
)


def understand(read: Callable[[Json], T], status: int, body: bytes, where: Where, *, secret: str = "") -> T:
    """The receipt that `read` makes of a whole answer; what it can't read is told with the answer as it came."""
    try:
        return read(unwrap(status, body, where, secret=secret))
    except errors.Unintelligible as error:
        raise errors.Unintelligible(str(error), raw=shown(body, secret)) from None


def unwrap(status: int, body: bytes, where: Where, *, secret: str = "") -> Json:
    """What a whole answer says; raises the error that its code, its status or its shape stands for."""
    try:
        answer = parse(body)
    except ValueError:
        answer = None
    if isinstance(answer, dict):
        for envelope in _envelopes(answer):
            _refuse(status, envelope, where, body, secret)
        return _content(answer)
    raw = shown(body, secret)
    if status >= 400:
        kind = _of_status(status, where)
        raise kind(f"{_about(kind, status)} (HTTP {status})", raw=raw, remote_code=status)
    raise errors.Unintelligible(
        f"The service's answer is no JSON object, perhaps a proxy's page (HTTP {status})", raw=raw
    )


def _envelopes(answer: Json) -> Iterator[Json]:
    """What can carry a refusal: the answer itself, and the second envelope that a render's answer can hold."""
    yield answer
    inner = answer.get("data")
    if isinstance(inner, dict) and inner.get("success") is False:
        yield inner


def _content(answer: Json) -> Json:
    """What is in the envelope, or in the second one within it; an answer without envelope is its own content."""
    for _ in range(2):
        if not ({"code", "success"} & answer.keys()) or "data" not in answer:
            break
        inner = answer["data"]
        if not isinstance(inner, dict):
            return {} if inner is None else {"data": inner}
        answer = inner
    return answer


def _refuse(status: int, envelope: Json, where: Where, body: bytes, secret: str) -> None:
    """Raise the error that this JSON object stands for; return if it stands for none."""
    code = whole(envelope.get("code"))
    if code is None and status < 400 and envelope.get("success") is not False and envelope.get("code") is None:
        return
    if code == 0 and envelope.get("success") is not False:
        return
    words = _words(envelope)
    number = code or (status if status >= 400 else None)
    kind = _kind(code, status, where, words)
    said = redact(words, secret)[:300] or "no reason given"
    message = f"{_about(kind, number)}: {said}" + (f" ({number})" if number is not None else "")
    raise kind(message, raw=shown(body, secret), remote_code=number)


def _about(kind: type[errors.RemoteError], number: int | None) -> str:
    """What happened, in the error's own words, but for the number: that is told at the end."""
    return (kind.__doc__ or kind.code).strip().rstrip(".").replace(f" ({number})", "").replace(" (5xx)", "")


def _kind(code: int | None, status: int, where: Where, words: str) -> type[errors.RemoteError]:
    """Which of our errors a refusal is: told by its words, by its code, or by its status."""
    if where is Where.RENDER and any(sign in words.casefold() for sign in _DUPLICATE_WORDS):
        return errors.RenderDuplicate
    kind = _of_code(code, where) if code else None
    return kind or (_of_status(status, where) if status >= 400 else errors.Rejected)


def _words(answer: Json) -> str:
    """The reason that an error answer gives, wherever it stands."""
    for key in ("message", "error", "detail", "msg"):
        said = answer.get(key)
        if isinstance(said, dict):
            said = said.get("message")
        if isinstance(said, str) and said.strip():
            return plain(said.strip())
    return ""


def _of_code(code: int, where: Where) -> type[errors.RemoteError] | None:
    found = _PLACES.get((where, code)) or CODES.get(code)
    return found or (_of_status(code, where) if 400 <= code < 600 else None)


def _of_status(status: int, where: Where) -> type[errors.RemoteError]:
    if status >= 500:
        return errors.ServerTrouble
    return _PLACES.get((where, status)) or STATUSES.get(status) or errors.Rejected


def _text(answer: Json, key: str) -> str:
    """An optional text; a number is written out, anything else counts as absent."""
    value = answer.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return plain(value) if isinstance(value, str) else ""


def _needed(answer: Json, key: str) -> str:
    value = _text(answer, key)
    if not value:
        raise _lacking(key)
    return value


def _lacking(key: str) -> errors.Unintelligible:
    return errors.Unintelligible(f"The answer has no usable {key!r}")


def read_accepted(_: Json) -> None:
    """Nothing: that it was no refusal is all there is to know."""


def read_grant(answer: Json) -> Grant:
    token = _needed(answer, "token")
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise errors.Unintelligible("The token can't be put into a header")
    return Grant(token, _text(answer, "user_id"), whole(answer.get("credits")), _moment(answer.get("expires_at")))


def _moment(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def read_session(answer: Json) -> Session:
    return Session(_needed(answer, "session_id"), _text(answer, "task_id"), _text(answer, "user_id"))


def read_uploaded(answer: Json) -> Uploaded:
    files = answer.get("files")
    if not isinstance(files, list) or not all(isinstance(each, dict) for each in files):
        raise _lacking("files")
    applied = answer.get("session_state_applied")
    return Uploaded(tuple(map(_media, files)), applied if isinstance(applied, bool) else None)


def _media(each: Json) -> Media:
    return Media(
        filename=_text(each, "filename"),
        file_type=_text(each, "file_type"),
        url=_text(each, "cdn_url"),
        duration=finite(each.get("duration")),
        width=whole(each.get("width")),
        height=whole(each.get("height")),
    )


def read_state(answer: Json) -> State:
    state = answer.get("state")
    if not isinstance(state, dict):
        raise _lacking("state")
    draft = state.get("draft")
    if draft is not None and not isinstance(draft, dict):
        raise _lacking("draft")
    return State(draft, _text(answer, "user_id"))


def read_balance(answer: Json) -> Balance:
    available = whole(answer.get("available"))
    if available is None:
        raise _lacking("available")
    frozen = whole(answer.get("frozen") or 0)
    if frozen is None:  # what an edit cost is told by the sum of both: half a reading would be a wrong bill
        raise _lacking("frozen")
    return Balance(available, frozen, whole(answer.get("total")))


def read_claim(answer: Json) -> str:
    return _needed(answer, "claim_token")


def read_progress(answer: Json) -> Progress:
    word = _text(answer, "status").casefold()
    status = _RENDER_WORDS.get(word)
    if status is None:
        raise _lacking("status")
    output = answer.get("output")
    url = (_text(output, "url") if isinstance(output, dict) else "") or _text(answer, "outputUrl")
    return Progress(status, _percent(status, answer.get("progress")), url, _words(answer))


def _percent(status: RenderStatus, value: object) -> int | None:
    if status is RenderStatus.DONE:
        return 100
    number = finite(value)
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
    # `sessionId` is camelCase here and nowhere else.
    return {
        "id": render_id,
        "sessionId": session_id,
        "draft": draft,
        "output": {"format": "mp4", "quality": "high"},
    }
