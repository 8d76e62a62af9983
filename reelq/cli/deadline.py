"""Several questions at once, none of which may keep the user waiting."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


class Late(Exception):
    """No answer came in time."""


def side_by_side(questions: Sequence[Callable[[], T]], seconds: float) -> list[T | Exception]:
    """The answer to each, or what it raised; `Late` for one that took longer, which is left to itself."""
    answers: list[T | Exception] = [Late() for _ in questions]

    def ask(at: int) -> None:
        try:
            answers[at] = questions[at]()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is that question's answer
            answers[at] = error

    # Daemons: a name that can't be resolved holds its thread for longer than anybody would wait.
    threads = [threading.Thread(target=ask, args=(at,), daemon=True) for at in range(len(questions))]
    for thread in threads:
        thread.start()
    over = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(over - time.monotonic(), 0))
    return list(answers)
