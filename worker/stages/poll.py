"""Polls an export once. Between polls the job waits in the database and takes up no worker.

`render_poller` makes most polls, for many rows at once and without Celery tasks. This stage runs when such a poll finds
anything but an unfinished export. Polling only reads. An export that the service has forgotten is submitted again under
its own id. One that fails or never finishes is given up and tried once more under a new id.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from reelq.errors import RemoteError, RenderFailed, RenderStuck, RenderUnknown, RowFailed
from reelq.job import ClaimedJob
from reelq.nemo.types import Progress, RenderStatus
from worker.context import NotYet, Receipt, StageContext
from worker.stages.render import submit

_RENDERS: Final = 2
"""The service's own client retries a failed export once, and so does this stage."""


@dataclass(frozen=True, slots=True)
class Polled(Receipt):
    """The export is done and can be downloaded from this URL."""

    url: str

    @property
    def message(self) -> str:
        return "rendered"

    @property
    def columns(self) -> dict[str, Any]:
        return {"result_url": self.url}


def poll(job: ClaimedJob, context: StageContext) -> Polled | NotYet:
    """Poll the export once, unless an earlier poll has found it done."""
    if job.result_url:
        return Polled(job.result_url)
    progress = _progress(job, context)
    if progress and progress.status is RenderStatus.DONE:
        return Polled(progress.url)
    if progress and progress.status is RenderStatus.FAILED:
        why = progress.reason or "no reason given"
        final_error = RenderFailed(f"The export failed twice: {why}")
        return _export_again(job, context, f"the export failed ({why})", final_error)
    if job.looks >= context.settings.reelq_poll_limit:
        with suppress(RemoteError):
            context.remote.cancel_render(job.remote_render_id)
        return _export_again(job, context, "the export did not finish", RenderStuck())
    if progress is None:
        submit(job, context, job.remote_render_id)
        message = "the service has forgotten the export; it was submitted again"
        return NotYet(context.settings.reelq_poll_interval, message)
    return NotYet(context.settings.reelq_poll_interval, unfinished(progress))


def unfinished(progress: Progress) -> str:
    """Return the message about an export that is not done yet."""
    return "rendering" if progress.percent is None else f"rendering, {progress.percent} %"


def _progress(job: ClaimedJob, context: StageContext) -> Progress | None:
    """Return the export's progress, or None if the service does not know the export."""
    try:
        return context.remote.progress(job.remote_render_id)
    except RenderUnknown:
        return None


def _export_again(job: ClaimedJob, context: StageContext, message: str, final_error: RowFailed) -> NotYet:
    """Submit a second export in place of this one, or raise `final_error` if this was the second."""
    if job.renders >= _RENDERS:
        raise final_error
    submit(job, context, "")
    return NotYet(context.settings.reelq_poll_interval, f"{message}; started a second one", new_export=True)
