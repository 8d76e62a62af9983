"""The words of a job's life: its stages and routes, its statuses, and which status may follow which."""

from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Stage(StrEnum):
    """One step of a job. The word is also its module, task name, column value, API filter and metric label."""

    UPLOAD = "upload"
    EDIT = "edit"
    VERIFY = "verify"
    RENDER = "render"
    POLL = "poll"
    DOWNLOAD = "download"


PIPELINE: Final = tuple(Stage)
"""Every stage, in the order in which a job passes them."""


class Route(StrEnum):
    """What an instruction asks for, and so which stages its job has."""

    EDIT = "edit"
    EXPORT = "export"
    UPLOAD = "upload"
    STATUS = "status"
    CREDITS = "credits"


ROUTES: Final = MappingProxyType(
    {
        Route.EDIT: PIPELINE,
        Route.EXPORT: (Stage.UPLOAD, Stage.RENDER, Stage.POLL, Stage.DOWNLOAD),
        Route.UPLOAD: (Stage.UPLOAD,),
        Route.STATUS: (Stage.UPLOAD, Stage.VERIFY),
        Route.CREDITS: (Stage.VERIFY,),
    }
)


class Status(StrEnum):
    """Where a job stands within its stage."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Cause(StrEnum):
    """Why a job is `waiting`, always one of these."""

    CREDITS = "credits"
    PLAN = "plan"
    TOKEN = "token"  # noqa: S105 - a reason to wait, not a secret
    PAUSED = "paused"
    SESSION = "session"
    TWIN = "twin"


FINAL: Final = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED})
"""A job in one of these moves again only when a person asks for it."""

TRANSITIONS: Final = MappingProxyType(
    {
        # While it is queued its predecessor can fail (cancelled), its account be parked, its message be poison; and
        # what was begun in a session that is no more, or is of no more use, begins anew: queued again.
        Status.QUEUED: frozenset(
            {Status.QUEUED, Status.RUNNING, Status.WAITING, Status.FAILED, Status.CANCELLED},
        ),
        # Back to queued: the next stage, another attempt, another look, or a worker that fell silent.
        Status.RUNNING: frozenset(
            {Status.QUEUED, Status.WAITING, Status.SUCCEEDED, Status.FAILED, Status.CANCELLED},
        ),
        Status.WAITING: frozenset({Status.QUEUED, Status.FAILED, Status.CANCELLED}),
        # Out of a final status only by a person: retry, or a result that was deleted and is fetched again.
        Status.SUCCEEDED: frozenset({Status.QUEUED}),
        Status.FAILED: frozenset({Status.QUEUED}),
        Status.CANCELLED: frozenset({Status.QUEUED}),
    }
)


def stage_after(route: Route, stage: Stage) -> Stage | None:
    """The stage that follows on this route; None where the job is done."""
    stages = ROUTES[route]
    rest = stages[stages.index(stage) + 1 :]
    return rest[0] if rest else None
