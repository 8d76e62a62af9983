"""`reelq show`: everything that is known about one row, from its request to what to do next."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click

from reelq.cli.targets import open_local, resolve_job, sandbox_option
from reelq.cli.views.lines import print_json, title
from reelq.cli.views.report import shown_path
from reelq.cli.views.text import aligned, format_duration, plural, safe_line, safe_lines
from reelq.job import ROUTES, Status
from reelq.store.db.models import Job, JobEvent, Outcome, Send
from reelq.store.queries.rows import RowHistory, row_history

_OUTCOMES: Final = {
    Outcome.OPEN: "not known yet",
    Outcome.APPLIED: "applied",
    Outcome.NO_EFFECT: "no effect",
    Outcome.AGENT_ERROR: "the agent failed",
    Outcome.NOT_SENT: "not sent",
    Outcome.REFUSED: "refused",
    Outcome.UNCONFIRMED: "not confirmed",
}


@click.command("show")
@click.argument("job")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@sandbox_option
def command(job: str, as_json: bool, sandbox: bool) -> None:
    """Show the history of JOB: its stages, messages, cost, and what to do if it stopped.

    JOB is a row's id, or BATCH:ROW with the row's number or your own id for it.

    \b
    Example: reelq show last:3
    """
    with open_local(resolve_job, job, sandbox=sandbox) as (local, resolved), local.store.read() as session:
        found, now = row_history(session, resolved.job_id), local.store.now(session)
    if as_json:
        print_json(_as_data(found))
        return
    for line in _render(found, now):
        click.echo(line)


def _render(found: RowHistory, now: datetime) -> Iterator[str]:
    job = found.job
    yield click.style(title(job.row, job.name, job.file or job.instruction), bold=True)
    yield from aligned([(name, safe_line(text)) for name, text in _fields(found, now) if text])
    if found.events:
        yield from _section("Stages", aligned(list(_stages(found, now)), right=(2,)))
        yield from _section("What happened", aligned([_event(event) for event in found.events]))
    if found.sends:
        yield from _section("What was sent", (f"  {line}" for send in found.sends for line in _send(send)))
    for name, text in (("Changes", "\n".join(job.changes)), ("Timeline", job.timeline), ("The agent says", job.reply)):
        if text:
            yield from _section(name, (f"  {line}" for line in safe_lines(text)))
    if job.raw:
        yield from _section("The service's answer", (f"  {line}" for line in safe_lines(job.raw)))


def _section(name: str, body: Any) -> Iterator[str]:
    yield ""
    yield click.style(name, bold=True)
    yield from body


def _fields(found: RowHistory, now: datetime) -> Iterator[tuple[str, str]]:
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
    yield "credits", f"about {cost:,}, its share of a joint cost" if shared else f"{cost:,}"
    yield "result", _result(found)
    yield "link", job.result_url if not job.result_path else ""


def _session(found: RowHistory) -> str:
    before = f"after row {found.before.row}" if found.before else ""
    same = f"the same as row {found.same_as.row} of {found.same_as.batch_id}" if found.same_as else ""
    return ", ".join(filter(None, (found.job.session, before, same, found.job.remote_session_id)))


def _status(job: Job, now: datetime) -> str:
    time = format_duration(((job.finished_at or now) - job.started_at).total_seconds()) if job.started_at else ""
    cause = f" ({job.cause})" if job.cause else ""
    place = "" if job.status is Status.SUCCEEDED else f" in {job.stage}"
    wait = (job.due_at - now).total_seconds() if job.status is Status.QUEUED else 0
    return f"{job.status}{cause}{place}{f', {time}' if time else ''}{f', due in {wait:.0f} s' if wait > 0 else ''}"


def _result(found: RowHistory) -> str:
    job = found.job
    if not job.result_path:
        return ""
    path = Path(found.batch.out) / job.result_path
    missing = "" if path.exists() else ", missing: run the manifest again to download it for free"
    return f"{shown_path(path)} ({(job.result_size or 0) / 1_000_000:.1f} MB){missing}"


def _stages(found: RowHistory, now: datetime) -> Iterator[tuple[str, str, str]]:
    """Each stage that has started: when, how long it took, how often it started."""
    for stage in ROUTES[found.job.route]:
        events = [event for event in found.events if event.stage is stage]
        starts = [event.at for event in events if event.after == Status.RUNNING != event.before]
        if starts:
            is_current = stage is found.job.stage and found.job.status in {Status.QUEUED, Status.RUNNING}
            duration = format_duration(((now if is_current else events[-1].at) - starts[0]).total_seconds())
            repeats = f"{len(starts)} times" if len(starts) > 1 else ""
            yield f"{stage}", f"{starts[0].astimezone():%H:%M:%S}", f"{duration}  {repeats}".rstrip()


def _event(event: JobEvent) -> tuple[str, str, str]:
    return f"{event.at.astimezone():%d %b %H:%M:%S}", str(event.stage), safe_line(event.words)


def _send(send: Send) -> Iterator[str]:
    cost = f"{'about ' if send.shared else ''}{plural(send.cost, 'credit')}"
    yield f"{send.sent_at.astimezone():%d %b %H:%M:%S}  {send.why}: {_OUTCOMES[send.outcome]}, {cost}"
    yield f"  {safe_line(send.text)}"
    for line in safe_lines(send.reply or send.agent_error):
        yield f"  > {line}"


def _as_data(found: RowHistory) -> dict[str, Any]:
    job = found.job
    request = ("file", "references", "instruction", "language", "skill", "session", "priority", "output", "extra")
    result = ("timeline", "changes", "reply", "error_code", "error", "advice", "raw", "result_path", "result_size")
    times = ("created_at", "started_at", "finished_at", "due_at")
    remote = ("remote_session_id", "remote_task_id", "remote_render_id", "result_url")
    return {
        "job": job.id, "batch": job.batch_id, "row": job.row, "id": job.name, "route": job.route, "stage": job.stage,
        "status": job.status, "cause": job.cause, "run": job.run, "credits": sum(send.cost for send in found.sends),
        **{name: getattr(job, name) for name in (*request, *result, *remote)},
        **{name: _iso(getattr(job, name)) for name in times},
        "sends": [_send_data(send) for send in found.sends],
        "events": [_event_data(event) for event in found.events],
    }  # fmt: skip


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _send_data(send: Send) -> dict[str, Any]:
    texts = {"text": send.text, "why": send.why, "reply": send.reply, "agent_error": send.agent_error}
    outcome = {"outcome": send.outcome, "cost": send.cost, "shared": send.shared}
    return {"number": send.number, **texts, **outcome, "sent_at": _iso(send.sent_at)}


def _event_data(event: JobEvent) -> dict[str, Any]:
    data = {"event": event.what, "at": _iso(event.at), "run": event.run, "stage": event.stage}
    return {**data, "before": event.before, "status": event.after, "words": event.words}
