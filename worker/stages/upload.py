"""Uploads a row's files into a remote session.

The stage can be killed at any point and start again. A session of the row's own in which nothing was sent is worthless,
so another one is opened. In a shared session a file must not be uploaded twice, so the draft's fingerprint is recorded
before the upload: a second run uploads only if the draft is unchanged.
"""

from dataclasses import dataclass
from typing import Any

from reelq.job import ClaimedJob
from reelq.nemo import timeline
from reelq.nemo.types import Session
from worker.context import InputFiles, Receipt, StageContext

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


def upload(job: ClaimedJob, context: StageContext) -> Uploaded:
    """Open a session, or use the shared one, and upload the row's files into it."""
    files = context.input_files()
    if job.after_id and job.remote_session_id:
        session = Session(job.remote_session_id, job.remote_task_id, job.remote_user_id)
        _send_to_shared(job, files, session, context)
    else:
        session = context.remote.open_session(job.language)
        _send_files(files, session, context)
    return Uploaded(session, len(files.paths) + len(files.urls))


def _send_to_shared(job: ClaimedJob, files: InputFiles, session: Session, context: StageContext) -> None:
    if not files.paths and not files.urls:
        return
    fingerprint = timeline.fingerprint(context.remote.state(session.session_id).draft)
    if not job.upload_baseline:
        context.remember_upload(fingerprint)
    if job.upload_baseline in {"", fingerprint}:
        _send_files(files, session, context)


def _send_files(files: InputFiles, session: Session, context: StageContext) -> None:
    if files.paths:
        total = sum(path.stat().st_size for path in files.paths if path.exists())

        def on_progress(count: int) -> None:
            context.check()
            context.progress(f"uploading, {count / _MB:.1f} of {total / _MB:.1f} MB")

        context.remote.upload(session.session_id, files.paths, on_progress, names=files.names)
    if files.urls:
        context.remote.upload_urls(session.session_id, files.urls)
