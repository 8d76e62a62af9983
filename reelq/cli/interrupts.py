"""Handles Ctrl-C, whenever it comes, with a message and exit code 130."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_MESSAGE = b"\nInterrupted; nothing was run.\n"
_EXIT_CODE = 130
_RESEND_SECONDS = 0.01


def exit_on_interrupt() -> None:
    """Make Ctrl-C end the process at once, until `raise_on_interrupt` is called.

    If SIGINT is ignored it stays ignored: shells start background jobs like that.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _exit_at_once)


def raise_on_interrupt() -> None:
    """Make Ctrl-C raise KeyboardInterrupt, as usual: from now on there may be something to clean up."""
    sys.unraisablehook = _resend_discarded
    if signal.getsignal(signal.SIGINT) is _exit_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def delay_interrupt() -> Iterator[None]:
    """Delay Ctrl-C until the block ends; a second one gets through. For short blocks that must not be interrupted."""
    received: list[int] = []
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):  # ignored, or not handled in Python
        yield
        return

    def record(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        signal.signal(number, handler)

    signal.signal(signal.SIGINT, record)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if received:
            signal.raise_signal(signal.SIGINT)


def restore_default() -> None:
    """Restore the system's Ctrl-C: nothing is left to clean up, and Python's shutdown should not print a traceback."""
    if signal.getsignal(signal.SIGINT) in {_exit_at_once, signal.default_int_handler}:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _resend_discarded(unraisable: "sys.UnraisableHookArgs") -> None:
    """Send a Ctrl-C again, a moment later, if it hit a callback whose exceptions Python discards."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        threading.Timer(_RESEND_SECONDS, _send_interrupt).start()
    else:
        sys.__unraisablehook__(unraisable)


def _send_interrupt() -> None:
    main = threading.main_thread().ident
    while _is_in_hook(sys._current_frames().get(main or 0)):  # noqa: SLF001 - Python would discard it there again
        time.sleep(_RESEND_SECONDS)
    if main and hasattr(signal, "pthread_kill"):
        signal.pthread_kill(main, signal.SIGINT)  # this interrupts whatever call it blocks in
    else:
        signal.raise_signal(signal.SIGINT)


def _is_in_hook(frame: FrameType | None) -> bool:
    while frame and frame.f_code is not _resend_discarded.__code__:
        frame = frame.f_back
    return frame is not None


def _exit_at_once(_number: int, _frame: FrameType | None) -> NoReturn:
    # Bypass Python's file objects: the interrupted code may be in the middle of writing to one.
    os.write(2, _MESSAGE)
    os._exit(_EXIT_CODE)
