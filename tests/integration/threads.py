"""Threads that do the same at the same moment."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def together(count: int, act: Callable[[], Any], *refusals: type[Exception]) -> list[Any]:
    """What each of so many threads got, or was refused with, when all began at once."""
    gate = threading.Barrier(count)

    def one() -> Any:
        gate.wait(60)
        try:
            return act()
        except refusals as refusal:
            return refusal

    with ThreadPoolExecutor(count) as pool:
        return [each.result() for each in [pool.submit(one) for _ in range(count)]]
