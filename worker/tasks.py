"""Six tasks, one for each stage, that hand their message to the pipeline and end as it says; one that tells others."""

import logging
import textwrap
from collections.abc import Callable
from typing import Any, Final

from celery import Celery, Task
from celery.exceptions import Ignore
from celery.worker.request import Request

from reelq.dispatch import DELIVER
from reelq.job import PIPELINE, Stage
from worker.deliveries import Deliveries
from worker.ending import Ended, Ending, Failed, Later
from worker.pipeline import Pipeline

log = logging.getLogger(__name__)

_LINE: Final = 200


class _Told(Exception):
    """A line for those who watch tasks; the database knows the rest."""

    def __repr__(self) -> str:
        return textwrap.shorten(str(self), _LINE, placeholder=" …")


class _Again:
    """What a task gives whose stage comes again: nothing is published, as the lifeline does that when it is due."""

    MARK: Final = "again: "

    def __init__(self, why: str) -> None:
        self._why = why

    def __repr__(self) -> str:
        return self.MARK + textwrap.shorten(self._why, _LINE, placeholder=" …")


class _Request(Request):
    """Has Flower see a retry where a stage comes again. Raised, as Celery has it, it would cost as much as the rest of
    the message and half as much again: for a traceback that nobody reads."""

    def send_event(self, type: str, **fields: Any) -> None:  # noqa: A002 - the name is Celery's
        result = str(fields.get("result"))
        if type == "task-succeeded" and result.startswith(_Again.MARK):
            super().send_event("task-retried", exception=result.removeprefix(_Again.MARK), traceback="")
        else:
            super().send_event(type, **fields)


def register(app: Celery, pipeline: Callable[[], Pipeline], deliveries: Callable[[], Deliveries]) -> None:
    """Make the tasks of this app; what does their work is asked for when the first message comes."""
    for stage in PIPELINE:
        app.task(name=str(stage), bind=True, shared=False, throws=(_Told,), Request=_Request)(_body(stage, pipeline))
    app.task(name=DELIVER, shared=False)(_deliver(deliveries))


def _deliver(deliveries: Callable[[], Deliveries]) -> Callable[..., None]:
    def body(*args: object, **_unknown: object) -> None:
        match args:
            case (str(delivery_id), int(attempts), *_):
                if not deliveries().run(delivery_id, attempts):
                    raise Ignore
            case _:
                log.warning("a message that names no delivery is dropped")
                raise Ignore

    return body


def _body(stage: Stage, pipeline: Callable[[], Pipeline]) -> Callable[..., _Again | None]:
    def body(task: "Task[Any, Any]", *args: object, **_unknown: object) -> _Again | None:
        match args:
            case (str(job_id), int(run), *_):
                return _end(task, pipeline().run(stage, job_id, run, chained=bool(task.request.chain)))
            case _:
                log.warning("a message for %s that names no job and run is dropped", stage)
                raise Ignore

    return body


def _end(task: "Task[Any, Any]", ended: Ended) -> _Again | None:
    match ended:
        case Ending.GO_ON:
            return None
        case Ending.DONE:
            # Sent now, a message for each waiting export would stand in everybody's way, to be found too early.
            task.request.chain = None
            return None
        case Ending.STOP:
            raise Ignore
        case Later(why):
            task.request.chain = None
            return _Again(why)
        case Failed(why):
            task.request.chain = None
            raise _Told(why)
