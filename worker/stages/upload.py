"""Brings a row's files into a remote session.

It can end anywhere and begin again: a session of its own to which nothing was sent is worthless, so another is opened.
Into a session that rows share a file must not go twice, so the draft is looked at before, and compared when in doubt.
"""

from dataclasses import dataclass

from reelq.remote import draft
from reelq.remote.receipts import Session
from worker.desk import Desk, Job

_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Uploaded:
    """The session that the row works in from now on."""

    session: Session
    files: int


def upload(job: Job, desk: Desk) -> Uploaded:
    """Open a session, or take the shared one, and put the row's files into it."""
    if job.session and job.shares_session:
        return _into_shared(job, job.session, desk)
    session = desk.remote.open_session(job.language)
    _send_files(job, session, desk)
    return Uploaded(session, len(job.paths) + len(job.urls))


def _into_shared(job: Job, session: Session, desk: Desk) -> Uploaded:
    if job.paths or job.urls:
        now = draft.fingerprint(desk.remote.state(session.session_id).draft)
        if not job.upload_baseline:
            desk.remember_upload(now)
        if job.upload_baseline in {"", now}:
            _send_files(job, session, desk)
    return Uploaded(session, len(job.paths) + len(job.urls))


def _send_files(job: Job, session: Session, desk: Desk) -> None:
    if job.paths:
        total = sum(path.stat().st_size for path in job.paths if path.exists())

        def gone(count: int) -> None:
            desk.check()
            desk.progress(f"uploading, {count / _MB:.1f} of {total / _MB:.1f} MB")

        desk.remote.upload(session.session_id, job.paths, gone, names=job.names)
    if job.urls:
        desk.remote.upload_urls(session.session_id, job.urls)
