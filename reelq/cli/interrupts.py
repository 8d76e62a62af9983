"""Ctrl-C where it can't be an exception: an end in words, at whichever line of whatever module it comes."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_WORDS = b"\nInterrupted; nothing was run.\n"
_INTERRUPTED = 130
_A_MOMENT = 0.01


def nothing_begun() -> None:
    """Until `begin`, Ctrl-C ends the process at once; unless it is ignored, as a shell wants it in its background."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def begin() -> None:
    """From here on there may be something to be put in order first: Ctrl-C is an exception, as usual."""
    sys.unraisablehook = _unheard
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


def _unheard(what: "sys.UnraisableHookArgs") -> None:
    """An exception in a callback goes nowhere: a Ctrl-C that meets one comes again, a moment later."""
    if isinstance(what.exc_value, KeyboardInterrupt):
        threading.Timer(_A_MOMENT, _press).start()
    else:
        sys.__unraisablehook__(what)


def _press() -> None:
    main = threading.main_thread().ident
    if main and hasattr(signal, "pthread_kill"):
        signal.pthread_kill(main, signal.SIGINT)  # whatever it waits for, it wakes up
    else:
        signal.raise_signal(signal.SIGINT)


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    # Not through Python's files: it may be in the midst of writing to one.
    os.write(2, _WORDS)
    os._exit(_INTERRUPTED)
