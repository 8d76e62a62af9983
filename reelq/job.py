"""The vocabulary of a job: stages, routes, statuses, the transitions between them, and a job as a worker has it."""

from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple


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


def makes_video(route: Route) -> bool:
    """Whether jobs of this route bring home a video."""
    return Stage.DOWNLOAD in ROUTES[route]


def is_rendered(stage: Stage) -> bool:
    """Whether the export of a job in this stage is done, so that the job needs its remote session no more."""
    return PIPELINE.index(stage) > PIPELINE.index(Stage.POLL)


class ClaimedJob(NamedTuple):
    """The columns of a job and its batch that a worker needs. Each one costs time in every claim."""

    id: str
    batch_id: str
    account_id: str
    owner: str
    row: int
    key: str
    file: str
    references: list[str]
    inputs: list[str]
    language: str
    skill: str
    output: str
    """The finished file's path below the batch's folder, or its name if it goes to storage."""
    route: Route
    after_id: str | None
    """The row before it in its session, which holds that row's files and edits too."""
    same_as: str | None
    run: int
    attempts: int
    looks: int
    follow_ups: int
    resend: bool
    upload_baseline: str
    remote_session_id: str
    remote_task_id: str
    remote_user_id: str
    remote_render_id: str
    renders: int
    result_url: str
    changes: list[str]
    source: str
    """The folder of the batch's files."""
    out: str
    """The folder of the batch's results; empty if they go to storage."""

    @property
    def result(self) -> Path | None:
        """Where the finished file goes, or None if it goes to storage."""
        return Path(self.out, self.output) if self.out else None

    @property
    def part(self) -> Path | None:
        """Where an incomplete download is kept. None if the result goes to storage, which has a scratch folder."""
        return self.result and self.result.with_name(f"{self.result.name}.part")

    @property
    def remote_session(self) -> str:
        """The remote session's id. Every stage after the upload has one."""
        if not self.remote_session_id:
            raise ValueError(f"{self.id} has no session yet")
        return self.remote_session_id

    @property
    def takes_a_result(self) -> bool:
        """Whether another row has the same inputs and instruction, so that its result can be reused."""
        return self.same_as not in {None, self.id}


class OpenSend(NamedTuple):
    """A decision to send an instruction, recorded before the request goes out. Its outcome is not known yet."""

    id: int
    text: str
    baseline: dict[str, Any] | None
    fingerprint: str
    ended_well: bool = False
    reply: str = ""
    agent_error: str = ""
    reads: int = 0
    read_fingerprint: str = ""
    seconds_since: float = 0.0
