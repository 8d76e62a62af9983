"""Messages that should not be there: stale, twice, of deleted jobs, of no stage, without arguments. Nothing happens."""

import logging
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import pytest
from celery.exceptions import Ignore

from reelq.job import PIPELINE, Stage, Status
from reelq.settings import Settings
from reelq.store.db.models import Job
from reelq.store.jobs.transitions import Position, move
from tests import databases
from tests.databases import add_job, new_database, shown
from worker.process import Process

GOING_ON = (Status.QUEUED, Status.RUNNING, Status.SUCCEEDED)


@pytest.fixture(scope="module", params=databases.KINDS)
def process(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A worker process without a broker and without a lifeline: what happens, a message has done."""
    folder = tmp_path_factory.mktemp("strays")
    with new_database(request.param, folder) as url:
        told: dict[str, Any] = {
            "nemo_api_url": "http://127.0.0.1:9",
            "reelq_data_dir": folder / "data",
            "reelq_database_url": shown(url),
            "reelq_secret_key": "a key for tests, long enough",
        }
        made = Process(Settings(**told), home=folder)
        yield made
        made.executor.close()


def hand_over(process: Process, stage: Stage, *args: object, **keywords: object) -> bool:
    """Give a message to its task, as the pool would; whether its chain goes on."""
    try:
        process.app.tasks[str(stage)](*args, **keywords)
    except Ignore:
        return False
    return True


def job_in(process: Process, stage: Stage, status: Status, **values: Any) -> str:
    """A job at this place, under run 3."""
    store = process.executor.store
    with store.write() as session:
        now = store.now(session)
        needed: dict[str, Any] = {"lease_until": now} if status is Status.RUNNING else {}
        needed |= {"cause": "paused"} if status is Status.WAITING else {}
        return add_job(session, now, **{"stage": stage, "status": status, "run": 3, **needed, **values})


def everything(process: Process, job_id: str) -> tuple[dict[str, Any], int]:
    """All that is known of a job, and how many events it has."""
    with process.executor.store.read() as session:
        job = session.get_one(Job, job_id)
        columns = {column.name: getattr(job, column.name) for column in Job.__table__.columns}
        events = session.connection().exec_driver_sql("select count(*) from job_events").scalar_one()
    return columns, int(events)


@pytest.fixture(autouse=True)
def debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="worker")


def told_once_at_debug(caplog: pytest.LogCaptureFixture, words: str) -> bool:
    """Whether that is all there is in our log."""
    ours = [record for record in caplog.records if record.name.startswith("worker")]
    return [(record.levelno, words in record.getMessage()) for record in ours] == [(logging.DEBUG, True)]


@pytest.mark.parametrize(
    ("at", "statuses", "stages", "runs", "words"),
    [
        pytest.param(Stage.EDIT, [*Status], PIPELINE, (1, 2, 4), "moved on", id="of another run"),
        pytest.param(Stage.RENDER, {*Status} - {Status.QUEUED}, [Stage.RENDER], [3], "moved on", id="come twice"),
        pytest.param(Stage.UPLOAD, [Status.QUEUED], [Stage.DOWNLOAD], [3], "moved on", id="too early"),
        pytest.param(Stage.RENDER, GOING_ON, [Stage.EDIT], [3], "already done", id="recorded, and its chain goes on"),
    ],
)
def test_a_message_that_is_stale_changes_nothing(
    process: Process,
    caplog: pytest.LogCaptureFixture,
    at: Stage,
    statuses: Collection[Status],
    stages: Collection[Stage],
    runs: Collection[int],
    words: str,
) -> None:
    for status, stage, run in product(statuses, stages, runs):
        caplog.clear()
        job_id = job_in(process, at, status)
        before = everything(process, job_id)
        assert hand_over(process, stage, job_id, run) is (words == "already done"), (status, stage, run)
        assert told_once_at_debug(caplog, words), (status, stage, run)
        assert everything(process, job_id) == before, (status, stage, run)


def test_of_two_messages_at_the_same_moment_the_slower_one_changes_nothing(
    process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = job_in(process, Stage.EDIT, Status.QUEUED)
    store = process.executor.store
    with ThreadPoolExecutor(1) as slower:
        with store.write() as session:
            at, now = Position.of(session.get_one(Job, job_id)), store.now(session)
            move(session, at, Status.RUNNING, now, "taken by the quicker one", lease_until=now)
            late = slower.submit(hand_over, process, Stage.EDIT, job_id, 3)
            time.sleep(0.5)  # PostgreSQL lets it read what was, and wait for us where it would write
        before = everything(process, job_id)
        assert late.result(10) is False
    assert told_once_at_debug(caplog, "moved on")
    assert everything(process, job_id) == before


def test_a_message_for_a_deleted_job_changes_nothing(process: Process, caplog: pytest.LogCaptureFixture) -> None:
    assert not hand_over(process, Stage.EDIT, "job_of_last_year", 1)
    assert told_once_at_debug(caplog, "no such job")


@pytest.mark.parametrize("arguments", [(), ("job_1",), (1, "job_1"), (None, None), ("job_1", "1"), ({}, [])])
def test_a_message_that_names_no_job_and_run_is_dropped_with_a_warning(
    process: Process, caplog: pytest.LogCaptureFixture, arguments: tuple[object, ...]
) -> None:
    assert not hand_over(process, Stage.EDIT, *arguments)
    assert [record.levelno for record in caplog.records if record.name == "worker.tasks"] == [logging.WARNING]


def test_arguments_beyond_job_and_run_are_those_of_a_newer_version_and_do_no_harm(process: Process) -> None:
    job_id = job_in(process, Stage.RENDER, Status.QUEUED)
    assert hand_over(process, Stage.EDIT, job_id, 3, "more", also="this")
