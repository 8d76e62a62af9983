"""The vocabulary of a job: stages, routes, statuses, and the transitions between statuses."""

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
"""All stages, in the order in which a job runs them."""


class Route(StrEnum):
    """What an instruction asks for; this determines the job's stages."""

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
    """The status of a job in its stage."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Cause(StrEnum):
    """Why a job is `waiting`."""

    CREDITS = "credits"
    PLAN = "plan"
    TOKEN = "token"  # noqa: S105 - a reason to wait, not a secret
    PAUSED = "paused"
    SESSION = "session"
    TWIN = "twin"


FINAL: Final = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED})
"""A job leaves these only when a user asks for it."""
TRANSITIONS: Final = MappingProxyType(
    {
        # While a job is queued, its predecessor can fail (cancelled), its account can be parked (waiting), and its
        # workers can crash too often (failed). If its session is lost or obsolete, it restarts (queued).
        Status.QUEUED: frozenset({Status.QUEUED, Status.RUNNING, Status.WAITING, Status.FAILED, Status.CANCELLED}),
        # Back to queued: the next stage, another attempt, another poll, or an expired lease.
        Status.RUNNING: frozenset({Status.QUEUED, Status.WAITING, Status.SUCCEEDED, Status.FAILED, Status.CANCELLED}),
        Status.WAITING: frozenset({Status.QUEUED, Status.FAILED, Status.CANCELLED}),
        # A user asks for a retry, or for a result that was deleted and is downloaded again.
        Status.SUCCEEDED: frozenset({Status.QUEUED}),
        Status.FAILED: frozenset({Status.QUEUED}),
        Status.CANCELLED: frozenset({Status.QUEUED}),
    }
)


def stage_after(route: Route, stage: Stage) -> Stage | None:
    """The next stage on this route; None after the last one."""
    stages = ROUTES[route]
    rest = stages[stages.index(stage) + 1 :]
    return rest[0] if rest else None


USER_CAUSES: Final = frozenset({Cause.CREDITS, Cause.PLAN, Cause.TOKEN, Cause.PAUSED})
"""The causes that a user can resolve. A row that waits for another row continues by itself."""


def start_message(stage: Stage) -> str:
    """The message of the event that the stage has started, which adds nothing to the stage itself."""
    return f"{stage} begins"


def starting_stage(route: Route) -> Stage:
    """The first stage of a route."""
    return ROUTES[route][0]
