"""Submits an export under an id of our own, which is recorded before the request is sent.

If the stage runs again, it submits the same id. A refusal as a duplicate then means that the first request arrived.
"""

from dataclasses import dataclass
from typing import Any

from reelq.errors import NothingToExport, RenderDuplicate
from reelq.job import ClaimedJob
from reelq.nemo import timeline
from worker.context import Receipt, StageContext


@dataclass(frozen=True, slots=True)
class Rendered(Receipt):
    """The service has accepted the export under this id."""

    render_id: str
    next_in: float = 0.0

    @property
    def message(self) -> str:
        return "export submitted"

    @property
    def columns(self) -> dict[str, Any]:
        return {"remote_render_id": self.render_id}


def render(job: ClaimedJob, context: StageContext) -> Rendered:
    """Read the session's current draft and submit it for export."""
    return Rendered(submit(job, context, job.remote_render_id), context.settings.reelq_poll_interval)


def submit(job: ClaimedJob, context: StageContext, render_id: str) -> str:
    """Submit the draft under this id, or under a new one if it is empty. Return the id."""
    draft = context.remote.state(job.remote_session).draft
    if draft is None or not timeline.has_segments(draft):
        raise NothingToExport
    if not render_id:
        render_id = context.reserve_render()
        if job.part:
            job.part.unlink(missing_ok=True)  # a partial download belongs to another export
    try:
        context.remote.render(render_id, job.remote_session, draft)
    except RenderDuplicate:
        context.say("the export was submitted before")
    return render_id
