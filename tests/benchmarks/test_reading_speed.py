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
from reelq.remote import wire
from reelq.remote.phrases import is_noise, read
from reelq.remote.sse import AgentError, Patience, Text, listen
from reelq.remote.wire import Where
from tests.unit.remote.test_phrases import PIECES

pytestmark = pytest.mark.benchmark

_STEADY: Final = 8
"""Times as long for four times the length: four where it grows with the length, sixteen with its square."""


def seconds(act: Callable[[str], object], text: str, tries: int = 3) -> float:
    def once() -> float:
        began = time.process_time()
        act(text)
        return time.process_time() - began

    return min(once() for _ in range(tries))


def grows_steadily(act: Callable[[str], object], piece: str, length: int) -> None:
    short, long = (piece * (size // len(piece)) for size in (length, 4 * length))
    brief = seconds(act, short)
    # What is over in no time is measured by the clock's grain.
    assert seconds(act, long) < _STEADY * max(brief, 0.002), f"{piece!r} {length} times over"


MORE: Final = ["a", " ", "\n", "你", "can ", "you can ", "please ", "在", "点击", "a, ", "i hit a "]


@pytest.mark.parametrize("piece", [*PIECES, *MORE])
def test_a_very_long_reply_takes_no_more_than_its_length(piece: str) -> None:
    grows_steadily(lambda reply: (read(reply), is_noise(reply)), piece, 5_000)


def test_a_very_long_instruction_of_the_words_themselves_takes_no_more_than_its_length() -> None:
    for word in ("export", "mp4", "hd", "the", "and", "please", "it", "导出", "高清", "的", "看"):
        grows_steadily(route, f"{word} ", 500)
    grows_steadily(route, "export mp4 hd the and please it 导出 高清 的 看 ", 500)


def heard(event: object) -> Text | AgentError:
    stream = f"data: {json.dumps(event)}\n\n".encode()
    chunks = iter([stream[at : at + 16_384] for at in range(0, len(stream), 16_384)])
    response = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=chunks)
    (event_heard,) = listen(response, Patience(life=600, silence=600))
    assert isinstance(event_heard, Text | AgentError)
    return event_heard


def test_a_very_long_event_takes_no_more_than_its_length() -> None:
    grows_steadily(lambda words: heard({"type": "text", "content": words}), "x", 500_000)
    grows_steadily(lambda words: heard({"error": words}), "token: ", 500_000)


def test_a_very_long_answer_takes_no_more_than_its_length() -> None:
    def read_answer(note: str) -> None:
        body = json.dumps({"code": 0, "data": {"state": {"draft": {"t": []}, "note": note}}}).encode()
        wire.unwrap(200, body, Where.SESSION)

    grows_steadily(read_answer, "token: ", 1_000_000)
