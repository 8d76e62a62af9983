"""Parses the agent's event stream, in either dialect, into one set of events; and collects what the agent said.

The dialects are the events of Google's Agent Development Kit, and flat events with a `type`. Keep-alives show that the
stream is alive; they are not events. A text that arrives in pieces and then again as a whole is reported once. Results
of tools and changes of the state are passed over: what an instruction did is read from the session afterwards. So is
what can't be parsed or is unknown.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import httpx
from httpx_sse import EventSource

from reelq import errors
from reelq.nemo import agent_text, safe_text
from reelq.nemo.safe_text import redact, remove_secret
from reelq.nemo.types import Json

LARGEST_EVENT: Final = 64 * 1024 * 1024
"""Bytes without a complete event after which a stream counts as broken; real events stay far below."""
_ERROR_READ: Final = 10_000
_LONGEST_ERROR: Final = 500
_KEEP_ALIVES: Final = ("heartbeat", "ping", "keepalive")


@dataclass(frozen=True, slots=True)
class Text:
    """A complete text that the agent said."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The agent calls a tool; internal, never shown as text."""

    name: str


@dataclass(frozen=True, slots=True)
class AgentError:
    """An error that the agent reports; the stream itself is intact."""

    message: str


Event = Text | ToolCall | AgentError


@dataclass(slots=True)
class Patience:
    """How long a stream may last, and how long it may carry nothing but keep-alives; in seconds."""

    life: float
    silence: float


class _MonitoredStream(httpx.SyncByteStream):
    """Passes on the response's bytes. Each chunk is a sign of life, and an occasion to check the limits."""

    def __init__(self, stream: httpx.SyncByteStream, patience: Patience, alive: Callable[[], None]) -> None:
        self._stream = stream
        self._patience = patience
        self._alive = alive
        self._started_at = self._last_event_at = time.monotonic()
        self._bytes_since_event = 0

    def event_arrived(self) -> None:
        """Restart the count of silence and bytes: an event other than a keep-alive has arrived."""
        self._last_event_at = time.monotonic()
        self._bytes_since_event = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            self._bytes_since_event += len(chunk)
            self._check()
            self._alive()
            yield chunk
        # Complete a last event without its blank line: the stream ended properly, and has no closing event.
        yield b"\n\n"

    def _check(self) -> None:
        now = time.monotonic()
        if self._bytes_since_event > LARGEST_EVENT:
            raise errors.StreamCut("The agent's stream sent an event that is too large")
        if now - self._last_event_at > self._patience.silence:
            raise errors.StreamSilent(f"The agent sent only keep-alives for {self._patience.silence:g} s")
        if now - self._started_at > self._patience.life:
            raise errors.StreamOverran(f"The agent's stream was still open after {self._patience.life:g} s")

    def close(self) -> None:
        self._stream.close()


def read_events(
    response: httpx.Response, patience: Patience, *, alive: Callable[[], None] = lambda: None, secret: str = ""
) -> Iterator[Event]:
    """Yield the events of an open stream until it ends; raises `StreamLost` if it does not end properly.

    `alive` is called for every chunk, keep-alives included; an exception from it stops the reading.
    """
    if not isinstance(response.stream, httpx.SyncByteStream):
        raise TypeError("a stream of a synchronous client is needed")
    monitored = _MonitoredStream(response.stream, patience, alive)
    response.stream = monitored
    response.encoding = "utf-8-sig"  # event streams are always UTF-8; a byte order mark is not text
    assembler = _TextAssembler()
    try:
        for incoming in EventSource(response).iter_sse():
            raw = remove_secret(incoming.data, secret)
            data = _parse(raw)
            if incoming.event in _KEEP_ALIVES or not raw.strip() or (data and data.get("type") in _KEEP_ALIVES):
                continue
            monitored.event_arrived()
            if data is not None:
                yield from assembler.add(data)
    except httpx.TimeoutException:
        raise errors.StreamSilent("The agent sent nothing, not even a keep-alive") from None
    except httpx.HTTPError as error:
        raise errors.StreamCut(f"The agent's stream broke off: {redact(str(error), secret)}") from None
    yield from assembler.flush()


def _parse(raw: str) -> Json | None:
    try:
        data = safe_text.parse(raw)
    except ValueError:
        return None
    return data if isinstance(data, dict) else None


class _TextAssembler:
    """Holds back the pieces of a text until the whole arrives, so that it is reported once."""

    def __init__(self) -> None:
        self._held: list[str] = []

    def add(self, data: Json) -> Iterator[Event]:
        events = list(_flat_events(data) if isinstance(data.get("type"), str) else _adk_events(data))
        texts = [event.text for event in events if isinstance(event, Text)]
        if data.get("partial") is True:
            self._held += texts
            yield from (event for event in events if not isinstance(event, Text))
            return
        if texts:
            yield from self._flush_unless_repeated("".join(texts))
        yield from events

    def _flush_unless_repeated(self, whole: str) -> Iterator[Event]:
        """Drop the held pieces if this text repeats them; otherwise report them as a text of their own."""
        if _without_whitespace("".join(self._held)) in _without_whitespace(whole):
            self._held.clear()
        yield from self.flush()

    def flush(self) -> Iterator[Event]:
        """Report a text that arrived in pieces only."""
        text = "".join(self._held)
        self._held.clear()
        if text.strip():
            yield Text(text)


def _without_whitespace(text: str) -> str:
    return "".join(text.split())


def _flat_events(data: Json) -> Iterator[Event]:
    """Parse an event of the flat dialect."""
    match data["type"]:
        case "text":
            yield from _text_events(data.get("content"))
        case "tool_call":
            yield _tool_call(data)
        case "error":
            yield _agent_error(data.get("message") or data.get("error") or data.get("content"))


def _adk_events(data: Json) -> Iterator[Event]:
    """Parse an event of the Agent Development Kit: it may hold content and an error, or neither."""
    # An event reports an error in `errorCode` and `errorMessage`, an exception in `error`, an envelope in `code`.
    # An empty `error` is an error too: an exception without a message.
    has_error = data.get("error") not in (None, False)
    if has_error or data.get("errorCode") or data.get("errorMessage") or safe_text.to_int(data.get("code")):
        message = data.get("errorMessage") or data.get("error") or data.get("message") or data.get("errorCode")
        yield _agent_error(message)
    parts = _object(data.get("content")).get("parts")
    for part in parts if isinstance(parts, list) else ():
        yield from _part_events(_object(part))


def _part_events(part: Json) -> Iterator[Event]:
    if part.get("thought") is True:  # the model's thoughts are not part of its reply
        return
    yield from _text_events(part.get("text"))
    if isinstance(call := part.get("functionCall"), dict):
        yield _tool_call(call)


def _text_events(value: object) -> Iterator[Text]:
    if isinstance(value, str) and value:
        yield Text(safe_text.without_invalid_characters(value))


def _tool_call(data: Json) -> ToolCall:
    name = data.get("name")
    return ToolCall(safe_text.without_invalid_characters(name) if isinstance(name, str) else "")


def _object(value: Any) -> Json:
    """`value` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def _agent_error(message: object) -> AgentError:
    text = message if isinstance(message, str) and message.strip() else "no reason given"
    # Cut after the tokens are removed, so that no half of one stays.
    return AgentError(redact(safe_text.without_invalid_characters(text[:_ERROR_READ]))[:_LONGEST_ERROR])


@dataclass(frozen=True, slots=True)
class AgentReply:
    """Everything that came from one stream that ended properly."""

    texts: tuple[str, ...] = ()
    error: AgentError | None = None

    @classmethod
    def of(cls, events: Iterator[Event], tell: Callable[[Event], None] = lambda _: None) -> "AgentReply":
        """Read all events; `tell` is called for each."""
        texts: list[str] = []
        error = None
        for event in events:
            tell(event)
            if isinstance(event, Text):
                texts.append(event.text)
            elif isinstance(event, AgentError):
                error = event
        return cls(tuple(texts), error)

    @property
    def reply(self) -> str:
        """The agent's reply, without a last "temporary issue" that follows a normal answer."""
        texts = self.texts[:-1] if len(self.texts) > 1 and agent_text.is_noise(self.texts[-1]) else self.texts
        return "\n\n".join(text.strip() for text in texts if text.strip())
