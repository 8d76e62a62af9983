"""The threads that look at exports: nothing that goes wrong with one look, or takes its time, ends the others."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest

from reelq.errors import ServerTrouble
from reelq.remote.receipts import Progress, RenderStatus
from reelq.settings import Settings
from reelq.store.due import Look, Message, due
from reelq.store.models import Job
from tests.integration.desks import Desk
from tests.integration.test_looks import waiting
from worker.lease import Hands
from worker.looks import Looks
from worker.metrics import Metrics

if TYPE_CHECKING:
    from worker.pipeline import Pipeline


@dataclass
class _Pipeline:
    """What looks need of one: a real store, and a service that answers as it is told to."""

    desk: Desk
    answer: Callable[[str], Progress]
    asked: list[str] = field(default_factory=list)
    hands: Hands = field(default_factory=lambda: Hands(20))
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self.store, self.settings = self.desk.store, Settings(reelq_data_dir=self.desk.folder)

    def remote(self, *_: str) -> "_Pipeline":
        return self

    def progress(self, render_id: str) -> Progress:
        self.asked.append(render_id)
        return self.answer(render_id)


def _unfinished(_: str) -> Progress:
    return Progress(RenderStatus.RUNNING, 40)


class _Lookers:
    """Looks with what they published, and somebody who is told."""

    def __init__(self, desk: Desk, answer: Callable[[str], Progress] = _unfinished, **options: Any) -> None:
        self.desk = desk
        self.told: list[str] = []
        self.published: list[Message] = []
        self.tell: Callable[[Message, str], None] = lambda message, _: self.told.append(message.job_id)
        self.pipeline = _Pipeline(desk, answer)
        pipeline = cast("Pipeline", self.pipeline)
        self.looks = Looks(pipeline, self.published.extend, lambda *said: self.tell(*said), **options)
        self.looks.start()

    def take(self) -> list[Look]:
        with self.desk.store.write() as session:
            return due(session, self.desk.store.now(session), 9).looks

    def seen(self, job_id: str) -> bool:
        return self.desk.job(job_id).looks == 4


@pytest.fixture
def lookers(desk: Desk) -> Iterator[_Lookers]:
    made = _Lookers(desk)
    yield made
    made.looks.stop(5)


def _until(met: Callable[[], object]) -> None:
    until = time.monotonic() + 60
    while not met():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_whoever_watches_and_fails_ends_no_look_but_its_own(desk: Desk, lookers: _Lookers) -> None:
    first, second = waiting(desk, 2)
    by_id = {look.message.job_id: look for look in lookers.take()}
    failed = threading.Event()

    def fail(*_: Any) -> None:
        failed.set()
        raise RuntimeError("nobody expected this")

    lookers.tell = fail
    lookers.looks.begin([by_id[first]])
    assert failed.wait(60)
    lookers.looks.begin([by_id[second]])
    _until(lambda: lookers.seen(second))
    assert lookers.looks.has_room


def test_an_answer_that_takes_its_time_holds_up_no_other_look(desk: Desk) -> None:
    first, second = waiting(desk, 2)
    with desk.store.write() as session:
        session.get_one(Job, first).remote_render_id = "slow"
    over = threading.Event()

    def answer(render_id: str) -> Progress:
        if render_id == "slow":
            over.wait(120)
        return _unfinished(render_id)

    lookers = _Lookers(desk, answer)
    by_id = {look.message.job_id: look for look in lookers.take()}
    lookers.looks.begin([by_id[first]])
    _until(lambda: lookers.pipeline.asked == ["slow"])
    lookers.looks.begin([by_id[second]])
    _until(lambda: lookers.seen(second))
    assert not lookers.seen(first)
    over.set()
    _until(lambda: lookers.seen(first))
    lookers.looks.stop(5)


def test_one_that_waited_until_its_message_goes_out_is_not_made(desk: Desk) -> None:
    (job_id,) = waiting(desk)
    lookers = _Lookers(desk, too_late=-1)
    lookers.looks.begin(lookers.take())
    _until(lambda: not lookers.looks.under_way)
    assert (lookers.pipeline.asked, lookers.published, lookers.seen(job_id)) == ([], [], False)
    lookers.looks.stop(5)


def test_after_an_error_the_account_s_rows_go_to_their_stages_without_a_look(desk: Desk) -> None:
    first, second = waiting(desk, 2)

    def answer(_: str) -> Progress:
        raise ServerTrouble("out of order")

    lookers = _Lookers(desk, answer, ails_for=600)
    by_id = {look.message.job_id: look for look in lookers.take()}
    for job_id in (first, second):
        lookers.looks.begin([by_id[job_id]])
        _until(lambda job_id=job_id: job_id in {message.job_id for message in lookers.published})  # type: ignore[misc]
    assert len(lookers.pipeline.asked) == 1
    lookers.looks.stop(5)


def test_a_stopping_process_looks_no_more_and_others_do_at_once(desk: Desk, lookers: _Lookers) -> None:
    (job_id,) = waiting(desk)
    looks = lookers.take()
    lookers.pipeline.hands.stopping.set()
    lookers.looks.begin(looks)
    _until(lambda: not lookers.looks.under_way)
    assert lookers.pipeline.asked == []
    assert [look.message.job_id for look in lookers.take()] == [job_id]
