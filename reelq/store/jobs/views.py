"""A job and its batch as a worker claims them: only the columns that stages read."""

from typing import NamedTuple

from reelq.job import Route, Stage, Status


class JobView(NamedTuple):
    """The columns of a job that its stages read. Each one costs time in every claim."""

    id: str
    batch_id: str
    account_id: str
    owner: str
    row: int
    key: str
    file: str
    references: list[str]
    inputs: list[str]
    instruction: str
    language: str
    skill: str
    output: str
    route: Route
    after_id: str | None
    same_as: str | None
    stage: Stage
    status: Status
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


class BatchFolders(NamedTuple):
    """The folder of the batch's files, and the folder for its results."""

    source: str
    out: str
