"""`reelq show`: everything that is known of one row, from what was asked to what to do now."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click

from reelq.cli.lines import put_json, title
from reelq.cli.named import job_named
from reelq.cli.report import shown_path
from reelq.cli.whereabouts import of_sandbox, whereabouts
from reelq.cli.wording import aligned, lines, many, one_line, span
from reelq.job import ROUTES, Status
from reelq.store.models import Job, JobEvent, Outcome, Send
from reelq.store.story import Story, story

_OUTCOMES: Final = {
    Outcome.OPEN: "not known yet",
    Outcome.APPLIED: "applied",
    Outcome.NO_EFFECT: "no effect",
    Outcome.AGENT_ERROR: "the agent failed",
    Outcome.NOT_SENT: "did not go out",
    Outcome.REFUSED: "refused",
    Outcome.UNCONFIRMED: "not confirmed",
}


@click.command("show")
@click.argument("job")
@click.option("--json", "as_json", is_flag=True, help="JSON, for programs: one object.")
@of_sandbox
def command(job: str, as_json: bool, sandbox: bool) -> None:
    """Show the whole story of JOB: its stages, what was said, what it cost, and what to do where it stopped.

    JOB is a row's id, or BATCH:ROW with the row's number or your own id for it.

    \b
    Example: reelq show last:3
    """
    with whereabouts(job_named, job, sandbox=sandbox) as (made, meant), made.store.read() as session:
        found, now = story(session, meant.job_id), made.store.now(session)
    if as_json:
        put_json(_data(found))
        return
    for line in _told(found, now):
        click.echo(line)


def _told(found: Story, now: datetime) -> Iterator[str]:
    job = found.job
    yield click.style(title(job.row, job.name, job.file or job.instruction), bold=True)
    yield from aligned([(name, one_line(text)) for name, text in _facts(found, now) if text])
    if found.events:
        yield from _headed("Stages", aligned(list(_stages(found, now)), right=(2,)))
        yield from _headed("What happened", aligned([_event(event) for event in found.events]))
    if found.sends:
        yield from _headed("What was sent", (f"  {line}" for send in found.sends for line in _send(send)))
    for name, text in (("Changes", "\n".join(job.changes)), ("Timeline", job.timeline), ("The agent says", job.reply)):
        if text:
            yield from _headed(name, (f"  {line}" for line in lines(text)))
    if job.raw:
        yield from _headed("The service's answer", (f"  {line}" for line in lines(job.raw)))


def _headed(name: str, told: Any) -> Iterator[str]:
    yield ""
    yield click.style(name, bold=True)
    yield from told


def _facts(found: Story, now: datetime) -> Iterator[tuple[str, str]]:
    job, batch = found.job, found.batch
    cost = sum(send.cost for send in found.sends)
    shared = any(send.shared and send.cost for send in found.sends)
    yield "job", f"{job.id}, row {job.row} of {batch.name} ({batch.id})"
    yield "asked", job.instruction
    yield "files", ", ".join(filter(None, (job.file, *job.references)))
    yield "as", f"{job.route} with skill {job.skill}, language {job.language}"
    yield "session", _session(found)
    yield "status", _status(job, now)
    yield "error", f"{job.error_code}: {job.error}" if job.error_code else ""
    yield "waits", found.events[-1].words if job.status is Status.WAITING and found.events else ""
    yield "advice", job.advice
    yield "credits", f"about {cost:,}, its share of what several cost together" if shared else f"{cost:,}"
    yield "result", _result(found)
    yield "link", job.result_url if not job.result_path else ""


def _session(found: Story) -> str:
    before = f"after row {found.before.row}" if found.before else ""
    same = f"the same as row {found.same_as.row} of {found.same_as.batch_id}" if found.same_as else ""
    return ", ".join(filter(None, (found.job.session, before, same, found.job.remote_session_id)))


def _status(job: Job, now: datetime) -> str:
    took = span(((job.finished_at or now) - job.started_at).total_seconds()) if job.started_at else ""
    cause = f" ({job.cause})" if job.cause else ""
    in_stage = "" if job.status is Status.SUCCEEDED else f" in {job.stage}"
    wait = (job.due_at - now).total_seconds() if job.status is Status.QUEUED else 0
    return f"{job.status}{cause}{in_stage}{f', {took}' if took else ''}{f', due in {wait:.0f} s' if wait > 0 else ''}"


def _result(found: Story) -> str:
    job = found.job
    if not job.result_path:
        return ""
    path = Path(found.batch.out) / job.result_path
    gone = "" if path.exists() else ", not there any more: running the manifest again brings it back for free"
    return f"{shown_path(path)} ({(job.result_size or 0) / 1_000_000:.1f} MB){gone}"


def _stages(found: Story, now: datetime) -> Iterator[tuple[str, str, str]]:
    """Each stage that was begun: when, how long it took, how often it began."""
    for stage in ROUTES[found.job.route]:
        mine = [event for event in found.events if event.stage is stage]
        begun = [event.at for event in mine if event.after == Status.RUNNING != event.before]
        if begun:
            here = stage is found.job.stage and found.job.status in {Status.QUEUED, Status.RUNNING}
            took = span(((now if here else mine[-1].at) - begun[0]).total_seconds())
            often = f"{len(begun)} times" if len(begun) > 1 else ""
            yield f"{stage}", f"{begun[0].astimezone():%H:%M:%S}", f"{took}  {often}".rstrip()


def _event(event: JobEvent) -> tuple[str, str, str]:
    return f"{event.at.astimezone():%d %b %H:%M:%S}", str(event.stage), one_line(event.words)


def _send(send: Send) -> Iterator[str]:
    cost = f"{'about ' if send.shared else ''}{many(send.cost, 'credit')}"
    yield f"{send.sent_at.astimezone():%d %b %H:%M:%S}  {send.why}: {_OUTCOMES[send.outcome]}, {cost}"
    yield f"  {one_line(send.text)}"
    for line in lines(send.reply or send.agent_error):
        yield f"  > {line}"


def _data(found: Story) -> dict[str, Any]:
    job = found.job
    asked = ("file", "references", "instruction", "language", "skill", "session", "priority", "output", "extra")
    came = ("timeline", "changes", "reply", "error_code", "error", "advice", "raw", "result_path", "result_size")
    times = ("created_at", "started_at", "finished_at", "due_at")
    remote = ("remote_session_id", "remote_task_id", "remote_render_id", "result_url")
    return {
        "job": job.id, "batch": job.batch_id, "row": job.row, "id": job.name, "route": job.route, "stage": job.stage,
        "status": job.status, "cause": job.cause, "run": job.run, "credits": sum(send.cost for send in found.sends),
        **{name: getattr(job, name) for name in (*asked, *came, *remote)},
        **{name: _moment(getattr(job, name)) for name in times},
        "sends": [_send_data(send) for send in found.sends],
        "events": [_event_data(event) for event in found.events],
    }  # fmt: skip


def _moment(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _send_data(send: Send) -> dict[str, Any]:
    said = {"text": send.text, "why": send.why, "reply": send.reply, "agent_error": send.agent_error}
    came = {"outcome": send.outcome, "cost": send.cost, "shared": send.shared}
    return {"number": send.number, **said, **came, "sent_at": _moment(send.sent_at)}


def _event_data(event: JobEvent) -> dict[str, Any]:
    told = {"event": event.what, "at": _moment(event.at), "run": event.run, "stage": event.stage}
    return {**told, "before": event.before, "status": event.after, "words": event.words}
