"""Uploads a row's files into a remote session.

The stage can be killed at any point and start again. A session of the row's own in which nothing was sent is worthless,
so another one is opened. In a shared session a file must not be uploaded twice, so the draft's fingerprint is recorded
before the upload: a second run uploads only if the draft is unchanged.
"""

from dataclasses import dataclass
from typing import Any

from reelq.nemo import timeline
from reelq.nemo.types import Session
from worker.context import Job, Receipt, StageContext

_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Uploaded(Receipt):
    """The files are in this session, which the row uses from now on."""

    session: Session
    files: int

    @property
    def message(self) -> str:
        return f"{self.files} file{'' if self.files == 1 else 's'} uploaded" if self.files else "its session is ready"

    @property
    def columns(self) -> dict[str, Any]:
        opened = self.session
        user = {"remote_user_id": opened.user_id} if opened.user_id else {}
        return {"remote_session_id": opened.session_id, "remote_task_id": opened.task_id, **user}


def upload(job: Job, desk: StageContext) -> Uploaded:
    """Open a session, or use the shared one, and upload the row's files into it."""
    if job.session and job.shares_session:
        return _into_shared(job, job.session, desk)
    session = desk.remote.open_session(job.language)
    _send_files(job, session, desk)
    return Uploaded(session, len(job.paths) + len(job.urls))


def _into_shared(job: Job, session: Session, desk: StageContext) -> Uploaded:
    if job.paths or job.urls:
        fingerprint = timeline.fingerprint(desk.remote.state(session.session_id).draft)
        if not job.upload_baseline:
            desk.remember_upload(fingerprint)
        if job.upload_baseline in {"", fingerprint}:
            _send_files(job, session, desk)
    return Uploaded(session, len(job.paths) + len(job.urls))


def _send_files(job: Job, session: Session, desk: StageContext) -> None:
    if job.paths:
        total = sum(path.stat().st_size for path in job.paths if path.exists())

        def on_progress(count: int) -> None:
            desk.check()
            desk.progress(f"uploading, {count / _MB:.1f} of {total / _MB:.1f} MB")

        desk.remote.upload(session.session_id, job.paths, on_progress, names=job.names)
    if job.urls:
        desk.remote.upload_urls(session.session_id, job.urls)
