"""Long texts are read in time that grows with their length, and not with its square.

The same reading at one length and at four times that length, in one run: by the processor's time and the least of
several, so that what else the machine does has no say.
"""

import json
import time
from collections.abc import Callable
from typing import Final

import httpx
import pytest

from reelq.intent import route
from reelq.nemo import agent_text, wire
from reelq.nemo.stream import AgentError, Patience, Text, read_events
from tests.unit.remote.test_phrases import PIECES

pytestmark = pytest.mark.benchmark

_STEADY: Final = 8
"""Times as long for four times the length: four where it grows with the length, sixteen with its square."""
_MORE: Final = ["a", " ", "\n", "你", "can ", "you can ", "please ", "在", "点击", "a, ", "i hit a "]
_WORDS: Final = ["export", "mp4", "hd", "the", "and", "please", "it", "导出", "高清", "的", "看"]


def a_reply(words: str) -> None:
    agent_text.parse_reply(words)
    agent_text.is_noise(words)


def an_event(words: str) -> None:
    _hear({"type": "text", "content": words})


def an_error(words: str) -> None:
    _hear({"error": words})


def an_answer(words: str) -> None:
    body = json.dumps({"code": 0, "data": {"state": {"draft": {"t": []}, "note": words}}}).encode()
    wire.unwrap(200, body, wire.Area.SESSION)


def _hear(event: object) -> None:
    stream = f"data: {json.dumps(event)}\n\n".encode()
    chunks = iter([stream[at : at + 16_384] for at in range(0, len(stream), 16_384)])
    response = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=chunks)
    (heard,) = read_events(response, Patience(life=600, silence=600))
    assert isinstance(heard, Text | AgentError)


def _seconds(act: Callable[[str], object], text: str) -> float:
    def once() -> float:
        began = time.process_time()
        act(text)
        return time.process_time() - began

    return min(once() for _ in range(3))


@pytest.mark.parametrize(
    ("act", "piece", "length"),
    [
        *((a_reply, piece, 5_000) for piece in [*PIECES, *_MORE]),
        *((route, f"{words} ", 500) for words in [*_WORDS, " ".join(_WORDS)]),
        (an_event, "x", 500_000),
        (an_error, "token: ", 500_000),
        (an_answer, "token: ", 1_000_000),
    ],
)
def test_a_very_long_text_takes_no_more_than_its_length(act: Callable[[str], object], piece: str, length: int) -> None:
    short, long = (piece * (size // len(piece)) for size in (length, 4 * length))
    # What is over in no time is measured by the clock's grain.
    assert _seconds(act, long) < _STEADY * max(_seconds(act, short), 0.002)
