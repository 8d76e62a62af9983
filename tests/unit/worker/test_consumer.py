"""What the consumer outlives that Celery's own does not."""

import threading
from typing import Any

import pytest
from celery.worker import state

from worker.consumer import Consumer


class _Request:
    """What the sets hold weakly."""

    id = "job.edit.1"


@pytest.fixture
def consumer() -> Any:
    """One that has lost its connection, and has nothing of its own to clear away."""
    made: Any = object.__new__(Consumer)
    made.controller = made.timer = made.pool = None
    made.task_buckets = {}
    return made


def test_tasks_that_begin_and_end_while_a_connection_is_given_up_do_no_harm(consumer: Any) -> None:
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            for request in (requests := [_Request() for _ in range(50)]):
                state.active_requests.add(request)
            for request in requests:
                state.active_requests.discard(request)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3000):
            consumer.on_close()
    finally:
        over.set()
        for thread in threads:
            thread.join()
        state.reserved_requests.clear()
        state.active_requests.clear()


def test_what_goes_wrong_for_good_is_not_tried_for_ever(consumer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def fail(_: Any) -> None:
        tries.append(1)
        raise RuntimeError("for another reason")

    monkeypatch.setattr(Consumer.__base__, "on_close", fail)
    with pytest.raises(RuntimeError, match="for another reason"):
        consumer.on_close()
    assert 1 < len(tries) < 1000
