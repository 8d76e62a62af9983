"""Asks for an export, under an id that is ours and written down before the service hears of it.

A second run submits the same id: refused as a duplicate means that the first one arrived.
"""

from dataclasses import dataclass

from reelq.errors import NothingToExport, RenderDuplicate
from reelq.remote import draft
from worker.desk import Desk, Job


@dataclass(frozen=True, slots=True)
class Rendered:
    """The service has the export under this id."""

    render_id: str


def render(job: Job, desk: Desk) -> Rendered:
    """Submit the session's draft, read afresh, for export."""
    return Rendered(submit(job, desk, job.render_id))


def submit(job: Job, desk: Desk, render_id: str) -> str:
    """Submit under this id, or under a new one where there is none; the id."""
    content = desk.remote.state(job.remote_session).draft
    if content is None or not draft.exportable(content):
        raise NothingToExport
    if not render_id:
        render_id = desk.reserve_render()
        if job.part:
            job.part.unlink(missing_ok=True)  # what was gathered belonged to another export
    try:
        desk.remote.render(render_id, job.remote_session, content)
    except RenderDuplicate:
        desk.say("the export was submitted before")
    return render_id
