"""Exports that are waited for: what is looked at past the broker, and what goes to its stage instead."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select, update

from reelq.errors import ServerTrouble
from reelq.job import Cause, Stage, Status
from reelq.nemo.types import Progress, RenderStatus
from reelq.settings import Settings
from reelq.store.db.models import Account, Batch, BatchState, Job, JobEvent
from reelq.store.jobs import claims, polling
from reelq.store.jobs.claims import Lease, NotClaimed
from reelq.store.jobs.scheduler import Due, Message, Poll, due, republish_overdue
from tests.databases import change, done, moment, selected
from tests.integration.desks import Desk
from worker import render_poller
from worker.held_jobs import HeldJobs
from worker.metrics import Metrics
from worker.render_poller import RenderPoller
from worker.retry_policy import PARKED

INTERVAL = timedelta(seconds=30)
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def waiting(desk: Desk, count: int = 1, **values: Any) -> list[str]:
    """Rows whose next look is due since a second."""
    ids = desk.many(count)
    with desk.store.write() as session:
        since = desk.store.now(session) - timedelta(seconds=1)
        there = {"stage": Stage.POLL, "admitted": True, "publish_at": since, "due_at": since, "looks": 3, "attempts": 2}
        session.execute(update(Job).where(Job.id.in_(ids)).values(remote_render_id="render_1", **there | values))
    return ids


def _due(desk: Desk, *, polls: bool = True) -> Due:
    with desk.store.write() as session:
        return due(session, desk.store.now(session), 9, polls=polls)


def _told(desk: Desk, job_id: str) -> list[JobEvent]:
    query = select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.what == "again").order_by(JobEvent.id)
    return selected(desk.store, query)


def _not_done(desk: Desk, *seen: Poll) -> None:
    with moment(desk.store) as (session, now):
        held = polling.lock_unmoved(session, seen)
        if held:
            polling.schedule_next(session, now, now + INTERVAL, held, dict.fromkeys(held, "rendering, 40 %"))


@pytest.mark.parametrize("parked", [None, Cause.CREDITS, Cause.PLAN])
def test_an_export_that_is_waited_for_is_looked_at_and_has_no_message(desk: Desk, parked: Cause | None) -> None:
    (job_id,) = waiting(desk)
    change(desk.store, Account, desk.account, parked=parked)  # for anything but a token
    messages, (look,), _ = _due(desk)
    assert messages == []
    assert (look.message.job_id, look.render_id, look.looks) == (job_id, "render_1", 3)
    assert _due(desk) == ([], [], None)


def test_where_no_more_can_be_looked_at_it_stays_due_and_holds_up_no_message(desk: Desk) -> None:
    first, second = waiting(desk, 2)
    change(desk.store, Job, second, stage=Stage.DOWNLOAD)
    messages, looked_at, _ = _due(desk, polls=False)
    assert ([message.job_id for message in messages], looked_at) == ([second], [])
    assert [look.message.job_id for look in _due(desk).polls] == [first]


@pytest.mark.parametrize(
    ("table", "values"),
    [
        pytest.param(Job, {"cancel_wished": True}, id="it is to be cancelled"),
        pytest.param(Job, {"publishes": 1}, id="it was marked before, and not looked at"),
        pytest.param(Job, {"result_url": "https://cdn/1.mp4"}, id="it was seen to be done"),
        pytest.param(Job, {"remote_render_id": ""}, id="there is nothing to look at"),
        pytest.param(Batch, {"state": BatchState.PAUSED}, id="its batch is paused"),
        pytest.param(Batch, {"released": 0}, id="its batch is not released so far"),
        pytest.param(Account, {"parked": Cause.TOKEN}, id="its account has no token"),
        pytest.param(Account, {"blocked_until": "soon"}, id="its account holds off"),
    ],
)
def test_what_stands_in_the_way_of_a_look_is_for_its_stage(desk: Desk, table: Any, values: dict[str, Any]) -> None:
    (job_id,) = waiting(desk)
    with desk.store.write() as session:
        soon = desk.store.now(session) + timedelta(minutes=9)
        session.execute(update(table).values({name: soon if each == "soon" else each for name, each in values.items()}))
    (message,), looked_at, _ = _due(desk)
    assert (message.job_id, message.stage, looked_at) == (job_id, Stage.POLL, [])


def test_what_is_not_done_is_looked_at_again_an_interval_later_and_has_used_up_no_attempt(desk: Desk) -> None:
    (job_id,) = waiting(desk, lapses=2)
    _not_done(desk, *_due(desk).polls)
    job, (event,) = desk.job(job_id), _told(desk, job_id)
    assert (job.status, job.stage, job.looks, job.attempts, job.lapses) == (Status.QUEUED, Stage.POLL, 4, 0, 0)
    assert job.due_at == job.publish_at == event.at + INTERVAL
    assert (event.run, event.stage, event.before, event.after) == (1, Stage.POLL, Status.QUEUED, Status.QUEUED)
    assert event.words == "rendering, 40 %"
    (again,) = done(desk.store, due, job.due_at, 9).polls
    assert again.looks == 4


@pytest.mark.parametrize(
    "since",
    [
        pytest.param({"status": Status.RUNNING, "lease_until": NOW, "publish_at": None}, id="taken"),
        pytest.param({"stage": Stage.RENDER}, id="elsewhere"),
        pytest.param({"run": 2}, id="under another run"),
        pytest.param({"looks": 4}, id="looked at by another"),
        pytest.param({"remote_render_id": "render_2"}, id="exported anew"),
    ],
)
def test_what_was_seen_of_a_row_that_has_moved_since_is_nothing_to_it(desk: Desk, since: dict[str, Any]) -> None:
    job_id, other = waiting(desk, 2)
    seen = _due(desk).polls
    change(desk.store, Job, job_id, **since)
    before = desk.job(job_id)
    _not_done(desk, *seen)
    after = desk.job(job_id)
    assert (after.looks, after.due_at) == (before.looks, before.due_at)
    assert _told(desk, job_id) == []
    assert len(_told(desk, other)) == 1


def test_one_that_is_done_goes_to_its_stage_with_the_address(desk: Desk) -> None:
    (job_id,) = waiting(desk)
    (look,) = _due(desk).polls
    with desk.store.write() as session:
        assert list(polling.lock_unmoved(session, [look])) == [look]
        polling.dispatch_to_stage(session, desk.store.now(session), {look: "https://cdn/1.mp4"})
    assert desk.job(job_id).result_url == "https://cdn/1.mp4"
    # Its message went out after that; should it be lost, another does, and no look.
    with desk.store.write() as session:
        later = due(session, desk.store.now(session) + timedelta(seconds=61), 9)
    assert ([message.job_id for message in later.messages], later.polls) == ([job_id], [])


def test_no_stray_message_and_no_silent_worker_has_it_looked_at_beside_that(desk: Desk) -> None:
    (job_id,) = waiting(desk)
    assert len(_due(desk).polls) == 1
    lease = Lease("worker-1", 30)
    with moment(desk.store) as (session, now):
        assert claims.claim(session, now, job_id, 1, Stage.POLL, lease, PARKED) is NotClaimed.NOT_DUE
        republish_overdue(session, now, 0)
    assert _due(desk) == ([], [], None)


# The threads that look at exports: nothing that goes wrong with one look, or takes its time, ends the others.


class _Lookers:
    """Looks with all that they need: a real store, and a service that answers as it is told to."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.store = desk, desk.store
        self.settings, self.held_jobs, self.metrics = Settings(reelq_data_dir=desk.folder), HeldJobs(20), Metrics()
        self.asked: list[str] = []
        self.published: list[str] = []
        self.looks: RenderPoller | None = None

    def answer(self, render_id: str) -> Progress:
        self.asked.append(render_id)
        return Progress(RenderStatus.RUNNING, 40)

    def tell(self, *_: object) -> None:
        """Nobody watches."""

    def remote(self, *_: str) -> Any:
        return SimpleNamespace(progress=self.answer)

    def begin(self, *looks: Poll) -> RenderPoller:
        if self.looks is None:
            executor: Any = self
            self.looks = RenderPoller(executor, self._publish, self.tell)
            self.looks.start()
        self.looks.begin(looks)
        return self.looks

    def _publish(self, messages: Iterable[Message]) -> None:
        self.published += [message.job_id for message in messages]

    def seen(self, look: Poll) -> bool:
        return self.desk.job(look.message.job_id).looks == 4


@pytest.fixture
def lookers(desk: Desk) -> Iterator[_Lookers]:
    made = _Lookers(desk)
    yield made
    made.begin().stop(5)


def _until(met: Callable[[], object]) -> None:
    until = time.monotonic() + 60
    while not met():
        assert time.monotonic() < until
        time.sleep(0.01)


def _two(desk: Desk) -> tuple[Poll, Poll]:
    ids = waiting(desk, 2)
    first, second = sorted(_due(desk).polls, key=lambda look: ids.index(look.message.job_id))
    return first, second


def test_whoever_watches_and_fails_ends_no_look_but_its_own(desk: Desk, lookers: _Lookers) -> None:
    first, second = _two(desk)
    failed = threading.Event()

    def fail(*_: object) -> None:
        failed.set()
        raise RuntimeError("nobody expected this")

    lookers.tell = fail  # type: ignore[method-assign]
    lookers.begin(first)
    assert failed.wait(60)
    looks = lookers.begin(second)
    _until(lambda: lookers.seen(second))
    assert looks.has_room


def test_an_answer_that_takes_its_time_holds_up_no_other_look(desk: Desk, lookers: _Lookers) -> None:
    first, second = _two(desk)
    over, answer = threading.Event(), lookers.answer

    def slowly(render_id: str) -> Progress:
        said = answer(render_id)
        if len(lookers.asked) == 1:
            over.wait(120)
        return said

    lookers.answer = slowly  # type: ignore[method-assign]
    lookers.begin(first)
    _until(lambda: lookers.asked)
    lookers.begin(second)
    _until(lambda: lookers.seen(second))
    assert not lookers.seen(first)
    over.set()
    _until(lambda: lookers.seen(first))


def test_one_that_waited_until_its_message_goes_out_is_not_made(
    desk: Desk, lookers: _Lookers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render_poller, "_TOO_LATE", -1)
    look, _ = _two(desk)
    looks = lookers.begin(look)
    _until(lambda: not looks.under_way)
    assert (lookers.asked, lookers.published, lookers.seen(look)) == ([], [], False)


def test_a_failed_poll_is_repeated_by_its_stage_an_interval_later(
    desk: Desk, lookers: _Lookers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render_poller, "_SUSPEND_SECONDS", 600)

    def answer(render_id: str) -> Progress:
        lookers.asked.append(render_id)
        raise ServerTrouble("out of order")

    lookers.answer = answer  # type: ignore[method-assign]
    failed, other = _two(desk)
    before = done(desk.store, lambda session: desk.store.now(session))
    poller = lookers.begin(failed)
    _until(lambda: not poller.under_way)
    lookers.begin(other)  # the account's other rows go to their stages without a poll, and at once
    _until(lambda: lookers.published)
    assert (lookers.published, len(lookers.asked)) == ([other.message.job_id], 1)
    job = desk.job(failed.message.job_id)
    assert job.due_at == job.publish_at
    assert job.due_at is not None
    assert job.due_at >= before + timedelta(seconds=lookers.settings.reelq_poll_interval)
    later = done(desk.store, due, job.due_at, 9)
    assert (job.id in {message.job_id for message in later.messages}, later.polls) == (True, [])


def test_a_stopping_process_looks_no_more_and_others_do_at_once(desk: Desk, lookers: _Lookers) -> None:
    both = _two(desk)
    lookers.held_jobs.stopping.set()
    looks = lookers.begin(*both)
    _until(lambda: not looks.under_way)
    assert lookers.asked == []
    assert len(_due(desk).polls) == 2
