"""What the consumer outlives that Celery's own does not."""

from collections.abc import Iterator
from typing import Any

import pytest
from celery.worker.consumer import consumer as celerys

from worker.consumer import Consumer


class _Request:
    """A task that came over the lost connection."""

    id = "job.edit.1"


@pytest.fixture
def consumer() -> Any:
    """One that has lost its connection, and has nothing of its own to clear away."""
    made: Any = object.__new__(Consumer)
    made.controller = made.timer = made.pool = None
    made.task_buckets = {}
    return made


class _Changing(set[_Request]):
    """Tasks begin while somebody goes through it, the first few times."""

    times = 3

    def __iter__(self) -> Iterator[_Request]:
        self.times -= 1
        for each in super().__iter__():
            if self.times >= 0:
                self.add(_Request())
            yield each


def test_tasks_that_begin_while_a_connection_is_given_up_do_no_harm(
    consumer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = _Changing({_Request()})
    monkeypatch.setattr(celerys, "reserved_requests", requests)
    consumer.on_close()
    assert requests.times < 0


def test_what_goes_wrong_for_good_is_not_tried_for_ever(consumer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def fail(_: Any) -> None:
        tries.append(1)
        raise RuntimeError("for another reason")

    monkeypatch.setattr(Consumer.__base__, "on_close", fail)
    with pytest.raises(RuntimeError, match="for another reason"):
        consumer.on_close()
    assert 1 < len(tries) < 1000
