"""The Celery tasks: one for each stage, and one that sends webhooks."""

import logging
import textwrap
from collections.abc import Callable
from typing import Any, Final

from celery import Celery, Task
from celery.exceptions import Ignore, Retry

from reelq.broker import DELIVER
from reelq.job import PIPELINE, Stage
from worker.executor import Executor
from worker.outcomes import Ended, StageResult
from worker.webhooks import Deliveries

log = logging.getLogger(__name__)

_MAX_LENGTH: Final = 200


class _Reason(Exception):
    """Why a stage runs again or failed, short enough for Flower. The database has the details."""

    def __repr__(self) -> str:
        return textwrap.shorten(str(self), _MAX_LENGTH, placeholder=" …")


def register(app: Celery, executor: Callable[[], Executor], deliveries: Callable[[], Deliveries]) -> None:
    """Register the tasks of this app. Their `executor` and `deliveries` are created when the first message arrives."""
    for stage in PIPELINE:
        app.task(name=str(stage), bind=True, shared=False, throws=(_Reason,))(_stage_task(stage, executor))

    def deliver(*args: object, **_unknown: object) -> None:
        match args:
            case (str(delivery_id), int(attempts), *_):
                if not deliveries().run(delivery_id, attempts):
                    raise Ignore
            case _:
                log.warning("Dropped a message that names no delivery")
                raise Ignore

    app.task(name=DELIVER, shared=False)(deliver)


def _stage_task(stage: Stage, executor: Callable[[], Executor]) -> Callable[..., None]:
    def run_task(task: "Task[Any, Any]", *args: object, **_unknown: object) -> None:
        match args:
            case (str(job_id), int(run), *_):
                _end_task(task, executor().run(stage, job_id, run, chained=bool(task.request.chain)))
            case _:
                log.warning("Dropped a message for %s that names no job and run", stage)
                raise Ignore

    return run_task


def _end_task(task: "Task[Any, Any]", ended: Ended | None) -> None:
    """End the task as its stage ended. Celery publishes the rest of the chain only if the task succeeds."""
    match ended:
        case None | Ended(StageResult.CANCELLED | StageResult.LET_GO):
            raise Ignore
        case Ended(StageResult.DONE):
            if not ended.next_is_due:
                # Published now, the next stage's message would take up a slot only to be dropped.
                task.request.chain = None
        case Ended(StageResult.FAILED):
            raise _Reason(ended.message)
        case _:
            # Nothing is published here: a maintenance thread does that when the job is due.
            raise Retry(ended.message, _Reason(ended.message))
