"""One look at an export; between looks the job waits in the database, and no worker with it.

Most looks find it unfinished, and are made past Celery for many rows at a time (`worker.looks`); here is what is done
when one finds it otherwise. Looking only reads. An export that the service forgot is submitted again under its own id;
one that failed or comes to no end is given up and tried once more under a new one.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from reelq.errors import RemoteError, RenderFailed, RenderStuck, RenderUnknown, RowFailed
from reelq.remote.receipts import Progress, RenderStatus
from worker.desk import Desk, Job, NotYet
from worker.stages.render import submit

_RENDERS: Final = 2
"""The service's own client tries a failed export once more, and so do we."""


@dataclass(frozen=True, slots=True)
class Polled:
    """The export is done, and this is where it lies."""

    url: str


def poll(job: Job, desk: Desk) -> Polled | NotYet:
    """Look once, unless it was seen to be done already."""
    if job.result_url:
        return Polled(job.result_url)
    look = _look(job, desk)
    if look and look.status is RenderStatus.DONE:
        return Polled(look.url)
    if look and look.status is RenderStatus.FAILED:
        why = look.reason or "no reason given"
        return _second(job, desk, f"the export failed ({why})", RenderFailed(f"The export failed twice: {why}"))
    if job.looks >= desk.settings.reelq_poll_limit:
        with suppress(RemoteError):
            desk.remote.cancel_render(job.render_id)
        return _second(job, desk, "the export came to no end", RenderStuck())
    if look is None:
        submit(job, desk, job.render_id)
        words = "the service has forgotten the export; it was submitted again"
        return NotYet(desk.settings.reelq_poll_interval, words)
    return NotYet(desk.settings.reelq_poll_interval, unfinished(look))


def unfinished(look: Progress) -> str:
    """What is said of an export that is under way."""
    return "rendering" if look.percent is None else f"rendering, {look.percent} %"


def _look(job: Job, desk: Desk) -> Progress | None:
    """How far it is; None where the service knows nothing of it."""
    try:
        return desk.remote.progress(job.render_id)
    except RenderUnknown:
        return None


def _second(job: Job, desk: Desk, words: str, last: RowFailed) -> NotYet:
    """Another export in its place; its end, where it was that already."""
    if job.renders >= _RENDERS:
        raise last
    submit(job, desk, "")
    return NotYet(desk.settings.reelq_poll_interval, f"{words}; a second one began", anew=True)
