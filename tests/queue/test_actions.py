"""What people ask of rows at work, cancel, pause, resume and retry, at any moment; and rows that share a session."""

import itertools
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import select

from reelq.job import FINAL, TRANSITIONS, Status
from reelq.store import commands
from reelq.store.db.models import Job, JobEvent
from tests.queue.farm import ON_REDIS, Farm, farm, lines, until
from tests.queue.sizes import PROVING, size
from tests.queue.test_chaos import nothing_is_wrong
from worker.process import Process

EXAMPLES = size(6, 25)
STEPS = size(12, 20)
HASTE: dict[str, Any] = {
    "reelq_poll_interval": 0.3,
    "reelq_edit_timeout": 1.0,
    "reelq_settle_first_wait": 0.05,
    "reelq_settle_wait": 0.1,
    "reelq_lease_seconds": 20.0,
}


@pytest.mark.parametrize("kind", ON_REDIS)
def test_a_row_cancelled_in_its_stream_keeps_its_costs_and_a_retry_finds_the_edit(kind: str, tmp_path: Path) -> None:
    with farm(kind, tmp_path, faults={"edit_seconds": 3}, reelq_edit_timeout=20.0) as made:
        batch = made.submit(lines(2))
        made.start_worker()
        until(lambda: len(made.sends()) == 2, "both streams open")
        cancelled, other = made.jobs(batch)
        assert commands.cancel_row(made.store, cancelled.id).soon
        assert made.ended(batch) == {"cancelled": 1, "succeeded": 1}
        assert commands.retry_row(made.store, cancelled.id)
        assert not commands.retry_row(made.store, other.id)  # there is no need
        assert made.ended(batch) == {"succeeded": 2}
        assert len(made.sends()) == 2
        nothing_is_wrong(made)
        assert made.costs() == made.sandbox.ledger()["charged"]


class Interference(RuleBasedStateMachine):
    """People who change their minds while rows are worked on; which message comes beside what, the machine decides."""

    made: Farm
    process: Process
    batches = itertools.count()

    def __init__(self) -> None:
        """Three rows of their own and two that share a session, like no other batch's."""
        super().__init__()
        number = next(self.batches)
        rows = [f"{row} of {number}," for row in lines(3)] + [f"{row} of {number},reel{number}" for row in lines(2)]
        self.batch_id = self.made.submit(rows, header="file,instruction,session")
        self.at_work: list[threading.Thread] = []

    def begin(self, job: Job) -> None:
        """Hand a worker's thread the message of a row."""
        run, message = self.process.executor.run, (job.stage, job.id, job.run)
        thread = threading.Thread(target=run, args=message, kwargs={"chained": True})
        thread.start()
        self.at_work.append(thread)

    def finish(self) -> None:
        """Wait for all that is at work."""
        for thread in self.at_work:
            thread.join(30)
            assert not thread.is_alive()
        self.at_work.clear()

    def jobs(self) -> list[Job]:
        """Its rows."""
        return self.made.jobs(self.batch_id)

    @rule(number=st.integers(0, 4))
    def work(self, number: int) -> None:
        """The next stage of a row begins, if it may; the rule does not wait for its end."""
        self.begin(self.jobs()[number])

    @rule(number=st.integers(0, 4))
    def work_to_the_end(self, number: int) -> None:
        """The same, and all that is at work ends."""
        self.begin(self.jobs()[number])
        self.finish()

    @rule(number=st.integers(0, 4))
    def cancel(self, number: int) -> None:
        commands.cancel_row(self.made.store, self.jobs()[number].id)
        self.process.executor.renew_leases()  # by which those at work hear of it

    @rule(number=st.integers(0, 4))
    def retry(self, number: int) -> None:
        commands.retry_row(self.made.store, self.jobs()[number].id)

    @rule()
    def pause(self) -> None:
        commands.pause_batch(self.made.store, self.batch_id)

    @rule()
    def resume(self) -> None:
        commands.resume_batch(self.made.store, self.batch_id)

    @rule()
    def wait_a_little(self) -> None:
        time.sleep(0.1)

    @invariant()
    def every_move_is_a_legal_one(self) -> None:
        for status, moves in self.stories():
            assert all(Status(after) in TRANSITIONS[Status(before)] for before, after in moves)
            assert all(one[1] == following[0] for one, following in itertools.pairwise(moves))
            assert not moves or moves[-1][1] == status

    def stories(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """Where each row is and how it came there, all at one moment."""
        with self.made.store.read() as session:
            jobs = session.execute(select(Job.id, Job.status).where(Job.batch_id == self.batch_id)).all()
            query = select(JobEvent.job_id, JobEvent.before, JobEvent.after).order_by(JobEvent.id)
            events = session.execute(query.where(JobEvent.batch_id == self.batch_id, JobEvent.what != "progress")).all()
        return [(status, [(before, after) for its, before, after in events if its == job]) for job, status in jobs]

    def teardown(self) -> None:
        """Left alone, and asked for again where it was cancelled, every row comes through."""
        deadline = time.monotonic() + 60
        while any(job.status is not Status.SUCCEEDED for job in self.jobs()):
            assert time.monotonic() < deadline, self.made.where(self.batch_id)
            self.finish()
            commands.resume_batch(self.made.store, self.batch_id)
            for job in self.jobs():
                if job.status in FINAL:
                    commands.retry_row(self.made.store, job.id)
                elif job.status is Status.QUEUED:
                    self.begin(job)
            time.sleep(0.05)
        self.finish()


@pytest.mark.timeout(900 if PROVING else 240)
def test_no_interference_leads_to_an_illegal_state_a_lost_receipt_or_a_second_send(tmp_path: Path) -> None:
    bounds = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # what threads do can't be replayed, let alone be made smaller
        derandomize=not PROVING,
        suppress_health_check=list(HealthCheck),
    )
    with farm("in-process", tmp_path, **HASTE) as made:
        process = Process(made.settings, home=made.folder)
        machine = type("Interference", (Interference,), {"made": made, "process": process})
        run_state_machine_as_test(machine, settings=bounds)
        process.executor.close()
        nothing_is_wrong(made)
        for book in made.sandbox.ledger()["sessions"].values():  # rows of one session work in it in their order
            texts = [message["text"] for message in book["messages"]]
            assert texts == sorted(texts)
        made.read_balance()
        assert made.costs() == made.sandbox.ledger()["charged"]
