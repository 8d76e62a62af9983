"""Rows as a stage sees them."""

from typing import Any, Final

from reelq.job import Route, Stage
from reelq.remote.receipts import Session
from worker.desk import Job

_ROW: Final[dict[str, Any]] = {
    "id": "job_1", "row": 1, "run": 1, "route": Route.EDIT, "instruction": "Trim it", "language": "en", "paths": (),
    "urls": (), "result": None, "session": Session("ses", "task", "me"),
}  # fmt: skip


def row_in(stage: Stage, **values: Any) -> Job:
    """A row that has a session, in this stage."""
    return Job(stage=stage, **_ROW | values)
