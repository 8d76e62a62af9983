"""Ctrl-C where it can't be an exception: an end in words, at whichever line of whatever module it comes."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_WORDS = b"\nInterrupted; nothing was run.\n"
_INTERRUPTED = 130


def nothing_begun() -> None:
    """Until `begin`, Ctrl-C ends the process at once; unless it is ignored, as a shell wants it in its background."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def begin() -> None:
    """From here on there may be something to be put in order first: Ctrl-C is an exception, as usual."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def held_back() -> Iterator[None]:
    """Ctrl-C comes after this: what is in it is short, and not made to be broken off in its midst; a second comes."""
    came: list[int] = []
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):  # ignored, or the system's
        yield
        return

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        signal.signal(number, handler)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if came:
            signal.raise_signal(signal.SIGINT)


def all_done() -> None:
    """Nothing is left to be put in order: what Python does before it ends is not worth a traceback."""
    if signal.getsignal(signal.SIGINT) in {_end, signal.default_int_handler}:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    # Not through Python's files: it may be in the midst of writing to one.
    os.write(2, _WORDS)
    os._exit(_INTERRUPTED)
